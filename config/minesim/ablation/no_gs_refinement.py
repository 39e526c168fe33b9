# Without GSRefinement: no Gaussians are splatted. Volumes are still rendered.
_base_ = "../minesim_full.py"
model = dict(parts=dict(refinement=None))
