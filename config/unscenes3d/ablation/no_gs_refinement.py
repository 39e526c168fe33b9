# Without GSRefinement: no Gaussians are splatted; volumes are still rendered.
_base_ = "../unscenes3d_occ.py"
model = dict(parts=dict(refinement=None))
