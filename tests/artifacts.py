"""Small, valid published models, written in milliseconds: real ONNX graphs that need no training run.

The detector is a linear autoencoder (principal components of the normal images given), the generator a random linear
map with a colour per class. Both carry their signature, calibration, golden outputs and hashes like shipped ones.
"""

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from service import images
from service.published import artifact
from service.published.artifact import MANIFEST, sha256_of
from service.published.manifest import Graph, Metric
from service.published.onnx_model import OnnxModel, signature

SIDE = 32
CLASS_NAMES = ("ship", "cat", "frog")
LATENT_SIZE = 8
PARTS = ("l_con", "latent", "density", "score")


def write_detector(
    folder: Path,
    normal: np.ndarray,
    components: int = 16,
    normal_class: str = "0",
    *,
    a_group: int = 0,
    reconstructs: bool = True,
) -> Path:
    """Return `folder`, made a detector whose normal class is the grey uint8 images `normal` [N, H, W].

    Every second image calibrates, `a_group` of them, one after the other, being a group; 0 stands for groups that are not known.
    Without `reconstructs` the scores are the same, but the outputs of an autoencoder are missing. The heat is
    the squared difference from the reconstruction.
    """
    folder.mkdir(parents=True)
    pixels = images.fit(normal, SIDE)
    fitted, held_out = pixels[::2], pixels[1::2]
    flat = fitted.reshape(len(fitted), -1).astype(np.float32) / 255
    mean = flat.mean(axis=0)
    basis = np.linalg.svd(flat - mean, full_matrices=False)[2][:components].T.astype(np.float32)  # [SIDE * SIDE, D]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["as_float"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["x"]),
        *_encode("x", "z"),
        helper.make_node("MatMul", ["z", "basis_t"], ["back"]),
        helper.make_node("Add", ["back", "mean"], ["unbounded"]),
        helper.make_node("Clip", ["unbounded", "zero", "one"], ["x_hat"]),
        *_encode("x_hat", "z_hat"),
        *_distance("ReduceMean", "x", "x_hat", "l_con"),
        *_distance("ReduceSum", "z", "z_hat", "latent"),
        helper.make_node("Sub", ["latent", "l_con"], ["density"]),
        helper.make_node("Add", ["l_con", "latent"], ["score"]),
        *_to_pixels("x_hat", "reconstruction"),
        helper.make_node("Mul", ["l_con_absolute", "l_con_absolute"], ["l_con_squared"]),
        *_to_pixels("l_con_squared", "heat"),
    ]
    constants = {"mean": mean, "basis": basis, "basis_t": basis.T.copy(), "shape": np.array([-1, SIDE, SIDE])}
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE])]
    parts, pictures = (PARTS, ("reconstruction", "heat")) if reconstructs else (PARTS[2:], ("heat",))
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch"]) for n in parts]
    outputs += [helper.make_tensor_value_info(n, TensorProto.UINT8, ["batch", SIDE, SIDE]) for n in pictures]
    graph = _write_graph(folder / "detector.onnx", nodes, inputs, outputs, constants)
    model = OnnxModel(folder / "detector.onnx", graph, "cpu", 1)
    groups = np.arange(len(held_out)) // a_group if a_group else None
    artifact.write_calibration(folder, model(pixels=held_out)["score"], groups)
    artifact.write_golden(folder, {"pixels": held_out[:3]}, model(pixels=held_out[:3]))
    (folder / artifact.SAMPLES).write_bytes(images.encode_png(images.grid(held_out[:3], 3)))
    class_names = [str(n) for n in range(10)]
    return _publish(folder, "detector", {"detector": graph}, 1, class_names, [normal_class])


def write_generator(folder: Path, *, conditional: bool = True, seed: int = 0) -> Path:
    """Return `folder`, made a generator of the classes CLASS_NAMES, or of no classes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.2, (LATENT_SIZE, SIDE * SIDE * 3)).astype(np.float32)
    colours = np.repeat(np.eye(3, dtype=np.float32)[:, None], SIDE * SIDE, axis=1).reshape(3, -1)  # red, green, blue
    nodes = [helper.make_node("MatMul", ["z", "weights"], ["texture"])]
    if conditional:
        nodes.append(helper.make_node("Gather", ["colours", "labels"], ["colour"]))
        nodes.append(helper.make_node("Add", ["texture", "colour"], ["texture_of_class"]))
    nodes.append(helper.make_node("Sigmoid", ["texture_of_class" if conditional else "texture"], ["x"]))
    nodes += _to_pixels("x", "pixels")
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", LATENT_SIZE])]
    inputs += [helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch"])] if conditional else []
    outputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])]
    constants = {"weights": weights, "colours": colours, "shape": np.array([-1, SIDE, SIDE, 3])}
    graph = _write_graph(folder / "generator.onnx", nodes, inputs, outputs, constants)
    z = rng.standard_normal((3, LATENT_SIZE)).astype(np.float32)
    golden = {"z": z, "labels": np.arange(3)} if conditional else {"z": z}
    artifact.write_golden(folder, golden, OnnxModel(folder / "generator.onnx", graph, "cpu", 1)(**golden))
    return _publish(folder, "generator", {"generator": graph}, 3, CLASS_NAMES, [])


def _encode(x, z):
    centred = f"{z}_centred"
    return [helper.make_node("Sub", [x, "mean"], [centred]), helper.make_node("MatMul", [centred, "basis"], [z])]


def _distance(reduce, a, b, name):
    difference, absolute = f"{name}_difference", f"{name}_absolute"
    return [
        helper.make_node("Sub", [a, b], [difference]),
        helper.make_node("Abs", [difference], [absolute]),
        helper.make_node(reduce, [absolute, "axis"], [name], keepdims=0),
    ]


def _to_pixels(x, name):
    return [
        helper.make_node("Mul", [x, "white"], [f"{name}_scaled"]),
        helper.make_node("Round", [f"{name}_scaled"], [f"{name}_rounded"]),
        helper.make_node("Cast", [f"{name}_rounded"], [f"{name}_flat"], to=TensorProto.UINT8),
        helper.make_node("Reshape", [f"{name}_flat", "shape"], [name]),
    ]


def _write_graph(path, nodes, inputs, outputs, constants):
    scalars = {"white": np.float32(255), "zero": np.float32(0), "one": np.float32(1), "axis": np.array([1])}
    used = {name for node in nodes for name in node.input}
    tensors = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in {**scalars, **constants}.items()
        if name in used
    ]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    found_inputs, found_outputs = signature(path)
    return Graph(file=path.name, opset=18, inputs=found_inputs, outputs=found_outputs)


def _publish(folder, kind, graphs, channels, class_names, normal_classes):
    metric = Metric(
        name="auroc.score",
        value=0.5,
        deviation=0.1,
        deviation_of="bootstrap",
        samples=20,
        data="mnist",
        split="test",
        implementation="none",
    )
    artifact.write_metrics(folder, [metric])
    manifest = {
        "schema_version": 1,
        "name": folder.name,
        "kind": kind,
        "summary": f"A linear {kind} for tests.",
        "image_size": SIDE,
        "channels": channels,
        "class_names": list(class_names),
        "normal_classes": normal_classes,
        "graphs": {name: graph.model_dump() for name, graph in graphs.items()},
        "recipe": {"name": "linear"},
        "provenance": {
            "created": "2025-01-01T00:00:00Z",
            "commit": "0" * 40,
            "command": "tests/artifacts.py",
            "seed": 0,
            "data": "mnist",
            "data_sha256": "0" * 64,
            "device": "cpu",
            "train_seconds": 0.1,
            "versions": {"numpy": np.__version__},
        },
        "parity": {"tolerance": 0.001, "relative_difference": {1: 0.0}},
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return folder
