# Everything from nothing: `make demo` and `make test` make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
RUN := "$(VENV)/bin/python"
DATA ?= data/minesim_demo
OUT ?= out/demo
CONFIG := config/minesim/minesim_occ.py
NUSCENES_DATA ?= data/minesim_nuscenes
NUSCENES_OUT ?= out/nuscenes_demo
TRY_DATA ?= data/try
TRY_OUT ?= out/try
SHIPPED := assets/checkpoints/minesim_demo.safetensors
PACKAGE ?= out/package
BENCH := config/minesim/bench
BENCH_DATA ?= data/minesim_bench
NUSCENES := --py-config config/minesim/minesim_nuscenes.py --work-dir "$(NUSCENES_OUT)" \
	--data-root "$(NUSCENES_DATA)/nuscenes"

# Folders may have spaces: quoted in commands, and with a backslash as targets.
empty :=
escaped = $(subst $(empty) ,\ ,$(1))
DEMO_DATA := $(call escaped,$(DATA))/minesim.json
TRIED_DATA := $(call escaped,$(TRY_DATA))/minesim.json
RIG_DATA := $(call escaped,$(NUSCENES_DATA))/minesim.json
INSTALLED := $(call escaped,$(VENV))/.installed

# What a new Python or a new package breaks first: layers, file formats, a few steps of training.
SMOKE := $(addprefix tests/test_,compat.py constraints.py sparse.py formats.py unscenes3d.py \
	transforms.py lidar_encoder.py overfit.py)

.PHONY: help try demo package test smoke constraints modalities nuscenes-demo bench-data bench docs clean
.DELETE_ON_ERROR:

help:
	@echo "make try         predict with the weights in assets/checkpoints, in half a minute"
	@echo "make demo        a small mine: data, training, scores and figures in $(OUT)"
	@echo "make package     those weights as files that run from Python and C++ alone, in $(PACKAGE)"
	@echo "make test        lint, types and all tests"
	@echo "make smoke       types and a few tests, about a minute"
	@echo "make constraints newest versions of all packages into constraints.txt"
	@echo "make modalities  the demo's camera-only and LiDAR-only variants, to compare with it"
	@echo "make nuscenes-demo  the same in nuScenes' layout: six cameras, Occ3D scores, novel-view depth"
	@echo "make bench-data  the data of MineSim-Bench in $(BENCH_DATA), made and verified"
	@echo "make bench       all variants of MineSim-Bench once, which needs a GPU"
	@echo "make docs        the documents as a site in site/, without a network but for its packages"
	@echo "make clean       remove the demo's data and results"

# Versions are those of constraints.txt, on every Python.
#
# OpenCV's wheel needs system libraries for windows, which a server may lack; the headless wheel
# has the same modules without them, and nothing here opens a window.
define install
	$(PYTHON) -m venv "$(VENV)"
	$(RUN) -m pip install --disable-pip-version-check -r $(1) -c constraints.txt
	@$(RUN) -c "import cv2" || $(RUN) -m pip install --disable-pip-version-check \
		-c constraints.txt --force-reinstall --no-deps opencv-python-headless
endef

$(INSTALLED): requirements.txt constraints.txt
	$(call install,requirements.txt)
	@touch "$(VENV)/.installed"

$(INSTALLED)-dev: requirements-dev.txt requirements-export.txt requirements-poses.txt \
		requirements.txt constraints.txt
	$(call install,requirements-dev.txt)
	@touch "$(VENV)/.installed-dev" "$(VENV)/.installed"

$(DEMO_DATA): $(INSTALLED)
	$(RUN) tools/make_minesim.py --out "$(DATA)" --scenes 60 --frames 4 --val 12 --test 2 --seed 3 \
		--image-size 480x300 --no-sweeps --map-voxel 0.2 --ground-cell 0.6

# Scenes of another seed than the demo's, so that the weights have seen none of them.
$(TRIED_DATA): $(INSTALLED)
	$(RUN) tools/make_minesim.py --out "$(TRY_DATA)" --scenes 2 --frames 1 --val 1 --test 0 --seed 100 \
		--image-size 480x300 --no-sweeps --map-voxel 0.2 --ground-cell 0.6

try: $(TRIED_DATA)
	$(RUN) predict.py --resume-from $(SHIPPED) \
		--data-root "$(TRY_DATA)" --out "$(TRY_OUT)"
	@echo "Look at $(TRY_OUT)/*.png: what the sensors saw, the prediction, the label and the errors"

# The shipped weights as one file of each format. The package predicts the same from Python and from
# C++, bit for bit. Room for voxels is a third more than a frame of the demo occupies.
EXPORT = $(RUN) tools/export.py --resume-from $(SHIPPED) --data-root "$(TRY_DATA)" --device cpu \
	--image-size 480x300 --max-voxels 4096 2048 --frames 1
FRAME = "$(PACKAGE)/net.pt2" --image "$(PACKAGE)/frame.ppm" --cloud "$(PACKAGE)/frame.bin" \
	--calib "$(PACKAGE)/frame.txt"

package: $(INSTALLED)-dev $(TRIED_DATA)
	$(EXPORT) --out "$(PACKAGE)/net.onnx" --format onnx
	$(EXPORT) --out "$(PACKAGE)/net.pt2"
	cp "$$(ls "$(TRY_DATA)"/clouds/*.bin | head -n 1)" "$(PACKAGE)/frame.bin"
	cp "$$(ls "$(TRY_DATA)"/calibs/*.txt | head -n 1)" "$(PACKAGE)/frame.txt"
	$(RUN) -c "import sys; from PIL import Image; Image.open(sys.argv[1]).save(sys.argv[2])" \
		"$$(ls "$(TRY_DATA)"/images/*.jpg | head -n 1)" "$(PACKAGE)/frame.ppm"
	$(RUN) examples/run_package.py $(FRAME) --out "$(PACKAGE)/python.npy"
	cmake -S examples/cpp -B "$(PACKAGE)/cpp" -Wno-dev -DCMAKE_PREFIX_PATH="$$($(RUN) -c \
		'import torch; print(torch.utils.cmake_prefix_path)')"
	cmake --build "$(PACKAGE)/cpp"
	"$(PACKAGE)/cpp/run_package" $(FRAME) --out "$(PACKAGE)/cpp.npy"
	cmp "$(PACKAGE)/python.npy" "$(PACKAGE)/cpp.npy"

demo: $(DEMO_DATA)
	$(RUN) train.py --py-config $(CONFIG) --work-dir "$(OUT)" --data-root "$(DATA)"
	$(RUN) predict.py --py-config $(CONFIG) --data-root "$(DATA)" \
		--resume-from "$(OUT)/model_state_dict.pth" --split val --limit 6 --out "$(OUT)/pictures"
	$(RUN) eval_iou.py --py-config $(CONFIG) --work-dir "$(OUT)" \
		--resume-from "$(OUT)/model_state_dict.pth" --json "$(OUT)/scores.json" \
		--data-root "$(DATA)"
	@echo "What to look at:"
	@echo "  $(OUT)/pictures/*.png      predictions beside labels, scenes never trained on"
	@echo "  $(OUT)/scores.json         the table above, as JSON"
	@echo '  $(RUN) -m tensorboard.main --logdir "$(OUT)"   losses and scores over the training'

modalities: $(DEMO_DATA)
	@for modality in camera lidar; do \
		$(RUN) train.py --py-config $(CONFIG) --work-dir "$(OUT)_$$modality" \
			--data-root "$(DATA)" --cfg-options modality=$$modality && \
		$(RUN) eval_iou.py --py-config $(CONFIG) --work-dir "$(OUT)_$$modality" \
			--resume-from "$(OUT)_$$modality/model_state_dict.pth" \
			--json "$(OUT)_$$modality/scores.json" \
			--data-root "$(DATA)" --cfg-options modality=$$modality || exit 1; \
	done

$(RIG_DATA): $(INSTALLED)
	$(RUN) tools/make_minesim.py --layout nuscenes --out "$(NUSCENES_DATA)" --scenes 8 --frames 4 \
		--val 2 --seed 3 --image-size 320x180 --ground-cell 0.8 --map-voxel 0.2 --num-sweeps 2

nuscenes-demo: $(RIG_DATA)
	$(RUN) train.py $(NUSCENES) --depth-metric
	$(RUN) eval_iou.py $(NUSCENES) --occ3d --resolution 0.8 --sem --use-mask --scene-size 4
	$(RUN) eval_novel_depth.py $(NUSCENES)

bench-data: $(INSTALLED)
	test -f "$(BENCH_DATA)/minesim.json" || \
		$(RUN) tools/make_minesim.py @$(BENCH)/data.txt --out "$(BENCH_DATA)"
	$(RUN) tools/verify_dataset.py "$(BENCH_DATA)" --against $(BENCH)/data.csv

bench: bench-data
	$(RUN) tools/bench.py --data-root "$(BENCH_DATA)"
	$(RUN) tools/update_tables.py

test: $(INSTALLED)-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	"$(VENV)/bin/lint-imports" --no-logo
	$(RUN) -m pytest -n 2 --durations 10

smoke: $(INSTALLED)-dev
	$(RUN) -m mypy
	$(RUN) -m pytest -n 2 $(SMOKE)

# uv resolves for all supported Pythons at once and downloads none of the packages.
constraints:
	$(PYTHON) -m venv "$(VENV)-uv"
	"$(VENV)-uv/bin/python" -m pip install --disable-pip-version-check uv==0.13.9
	echo opencv-python-headless | "$(VENV)-uv/bin/uv" pip compile --upgrade --universal \
		--python-version 3.11 --no-annotate --custom-compile-command "make constraints" \
		--output-file constraints.txt requirements-dev.txt -

# The site needs none of the project's packages, and has an environment of its own.
$(call escaped,$(VENV))-docs/.installed: requirements-docs.txt
	$(PYTHON) -m venv "$(VENV)-docs"
	"$(VENV)-docs/bin/python" -m pip install --disable-pip-version-check -r requirements-docs.txt
	@touch "$@"

docs: $(call escaped,$(VENV))-docs/.installed
	NO_MKDOCS_2_WARNING=1 "$(VENV)-docs/bin/python" -m mkdocs build --strict
	@echo "Open site/index.html"

clean:
	rm -rf "$(DATA)" "$(OUT)" "$(OUT)_camera" "$(OUT)_lidar" "$(NUSCENES_DATA)" \
		"$(NUSCENES_OUT)" "$(TRY_DATA)" "$(TRY_OUT)" "$(PACKAGE)" site
