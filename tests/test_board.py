from math import nan

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.training.board import Board, iteration_tags, validation_tags


def test_numbers_of_an_iteration_are_grouped():
    numbers = dict(base_lr=1, lr=2, loss=3, loss_depth=4, time=5, data_time=6, iter=7, other=8)
    assert iteration_tags(numbers) == {
        "schedule/learning_rate": 2,
        "loss/total": 3,
        "loss/depth": 4,
        "speed/iteration_s": 5,
        "speed/waiting_for_data_s": 6,
        "other": 8,
    }


def test_scores_are_grouped_by_class():
    numbers = dict(iou=1, miou=2, iou_truck=3, time=4)
    assert validation_tags(numbers) == {
        "val/iou": 1,
        "val/miou": 2,
        "iou/truck": 3,
        "val/time": 4,
    }


def test_what_is_written_can_be_read_and_nan_is_left_out(tmp_path):
    board = Board(str(tmp_path))
    board.add_scalars(dict(lr=0.5, loss=2.0, time=1.0), step=10)
    board.add_scalars(dict(iou=0.25, iou_truck=nan, time=3.0), step=1)
    board.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    found = {tag: events.Scalars(tag)[0] for tag in events.Tags()["scalars"]}
    assert {tag: (event.step, event.value) for tag, event in found.items()} == {
        "schedule/learning_rate": (10, 0.5),
        "loss/total": (10, 2.0),
        "speed/iteration_s": (10, 1.0),
        "val/iou": (1, 0.25),
        "val/time": (1, 3.0),
    }
