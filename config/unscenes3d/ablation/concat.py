# The plain network: concatenated volumes, no rendering in training.
_base_ = "../unscenes3d_occ.py"
model = dict(
    parts=dict(
        fusion=dict(_delete_=True, type="ConcatFusion", channels=128),
        refinement=None,
    ),
    rendering=None,
)
