# The plain network: volumes concatenated, nothing rendered in training.
_base_ = "../minesim_full.py"
model = dict(
    parts=dict(
        fusion=dict(_delete_=True, type="ConcatFusion", channels=128),
        refinement=None,
    ),
    rendering=None,
)
