from training.benchmark.detection import Result
from training.benchmark.table import table


def test_the_table_gives_means_over_seeds_and_the_worst_class():
    def result(name: str, seed: int, auroc: float, speed: float | None) -> Result:
        rates = {"detected": 0.5, "false_alarms": 0.01, "false_alarms_05": 0.05, "inside": True}
        task = {"method": "density", "data": "mnist", "protocol": "A", "class_name": name, "seed": seed}
        return Result(**task, **rates, auroc=auroc, average_precision=1, seconds=1, images_per_second=speed)

    zeros = [result("0", 0, 1.0, 100), result("0", 1, 0.9, 200)]
    page = table([*zeros, result("1", 0, 0.8, 300), result("1", 1, 0.7, None)])
    row = [cell.strip() for cell in page.splitlines()[4].split("|")[1:-1]]
    assert row[:7] == ["density", "95.00", "75.00", "85.00 ± 5.00", "75.00", "0.500", "0.0100"]
    assert row[7:] == ["0.0500", "4/4", "1", "200", "2"]


def test_the_parts_of_a_score_have_rows_of_their_own():
    rates = {"detected": 0.5, "false_alarms": 0.01, "false_alarms_05": 0.05, "inside": True}
    result = Result(
        method="shared-aae",
        data="mnist",
        protocol="A",
        class_name="0",
        seed=0,
        changes="epochs=5",
        **rates,
        auroc=0.9,
        average_precision=1,
        seconds=1,
        parts={"l_con": 0.75},
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table([result]).splitlines()[4:]]
    assert rows[0][:4] == ["shared-aae epochs=5", "90.00", "90.00 ± 0.00", "90.00"]
    assert rows[1][:4] == ["shared-aae epochs=5: l_con", "75.00", "75.00 ± 0.00", "75.00"]
    assert rows[1][4:] == ["-"] * 6 + ["1"]
