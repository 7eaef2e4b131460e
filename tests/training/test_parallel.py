import torch

from training.parallel import Noise, own_part, rank, whole, world_size


def test_alone_a_process_is_the_first_of_one_and_has_the_whole_batch():
    batch = torch.arange(6)
    assert (rank(), world_size()) == (0, 1)
    assert torch.equal(own_part(batch), batch)
    assert torch.equal(whole(batch), batch)


def test_noise_goes_on_where_it_was():
    first, second = (Noise(seed, torch.device("cpu")) for seed in (0, 1))
    first.normal(3, 2)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.uniform(5), second.uniform(5))


def test_noise_reads_the_bare_state_of_older_checkpoints():
    generator = torch.Generator().manual_seed(7)
    torch.rand(3, generator=generator)
    noise = Noise(0, torch.device("cpu"))
    noise.load_state_dict(generator.get_state())
    assert torch.equal(noise.uniform(5), torch.rand(5, generator=generator))


def test_draws_have_the_range_that_their_name_says():
    noise = Noise(0, torch.device("cpu"))
    integers, uniform, normal = noise.integers(1000, 2), noise.uniform(1000, 3), noise.normal(1000, 3)
    assert set(integers.tolist()) == {0, 1, 2}
    assert (uniform.min() >= 0, uniform.max() < 1, uniform.shape) == (True, True, (1000, 3))
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.1
