import pytest
import torch

from model.streams import SideStream

CPU = torch.device("cpu")


def test_elsewhere_than_on_a_gpu_a_function_just_runs():
    side = SideStream()
    with torch.inference_mode():
        begun = side.begin(CPU)
    assert begun is None
    assert side.run(begun, lambda: (torch.ones(2), None)) == (pytest.approx(torch.ones(2)), None)


@pytest.mark.gpu
def test_while_gradients_are_recorded_there_is_no_second_stream():
    side, device = SideStream(), torch.device("cuda", 0)
    assert side.begin(device) is None
    with torch.no_grad():
        assert side.begin(device) is not None


@pytest.mark.gpu
def test_the_function_sees_what_was_queued_and_the_main_stream_its_results():
    side, device = SideStream(), torch.device("cuda", 0)
    main = torch.cuda.current_stream()
    with torch.no_grad():
        for _ in range(20):
            big = torch.rand(2048, 2048, device=device)
            source = (big @ big).sum() * 0 + 1  # Long enough to be still at work below.
            begun = side.begin(device)
            later = (big @ big).sum()

            def function(source=source):
                assert torch.cuda.current_stream() != main
                return (torch.full((10**6,), 2.0, device=device) * source, None)

            result, _ = side.run(begun, function)
            del source
            assert torch.cuda.current_stream() == main
            assert (result.sum() + 0 * later).item() == 2 * 10**6
