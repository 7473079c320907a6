# Every target works first on a fresh clone: it makes .venv and installs what it needs.

SHORT = data_exploration train train_with_validation train_with_rnns results
LONG = train_with_augmentation sequences robustness draw_a_digit results
PYTHON ?= python3
BIN = .venv/bin
# Coalescing the streams leaves only the last state of a progress bar. Kernels communicate through
# files (ipc): over TCP, each would warn that others might listen.
EXECUTE = $(BIN)/jupyter nbconvert --log-level=WARN --to notebook --inplace --execute \
	--KernelManager.transport=ipc \
	--ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.record_timing=False \
	--Exporter.preprocessors=nbconvert.preprocessors.CoalesceStreamsPreprocessor
PIP = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Execute the notebooks $(2) in place, one after the other. Their seconds go to the README's table
# in the row "make $(1)", but only where each training was run: not where runs/ had some already.
define execute
	@whole=yes; seconds=; \
	for notebook in $(2); do if [ -e runs/$$notebook ]; then whole=; fi; done; \
	for notebook in $(2); do \
		echo "== $$notebook.ipynb"; start=$$(date +%s); \
		$(EXECUTE) $$notebook.ipynb || exit 1; \
		took=$$(( $$(date +%s) - start )); echo "   done in $$took s"; \
		seconds="$$seconds $$notebook=$$took"; \
	done; \
	if [ -n "$$whole" ]; then $(BIN)/python -m experiments.run_time "make $(1)" $$seconds; fi
	@echo "Notebooks, models/, visualizations/, the page's threshold and the README's tables are"
	@echo "rewritten where your numbers differ; 'git restore .' brings back the committed files."
endef

.PHONY: help run long app page app-picture test lint benchmark benchmark-pixels benchmark-folds benchmark-cluster tensorboard clean

help:
	@echo "make run          train everything but the augmented and robust networks: execute the notebooks in place"
	@echo "make long         train the augmented and robust networks and the readers of sequences (hours; resumable)"
	@echo "make app          serve the draw-a-digit page on 127.0.0.1:8000 (PORT=... for another)"
	@echo "make page         write docs/draw.html, the page that needs no server, from its model"
	@echo "make test         run every test; no committed file changes"
	@echo "make lint         check style, formatting and the direction of imports"
	@echo "make benchmark    measure training speed, the time to 99 %, the page under load and on all kinds of pictures"
	@echo "make benchmark-pixels   train two networks that read a pixel a step (an hour)"
	@echo "make benchmark-folds    compare trainings by cross-validation (six hours; resumable)"
	@echo "make benchmark-cluster  measure the grid on a Dask cluster of this machine"
	@echo "make app-picture  take the README's picture of the page again (needs Chromium)"
	@echo "make tensorboard  show the training logs in a browser"
	@echo "make clean        delete .venv, kept runs, unpacked data and caches"

run: .venv/study
	@echo "== executing $(words $(SHORT)) notebooks; finished trainings are kept in runs/"
	@echo "   took so far, by machine:"; grep '^| make run' README.md | sed 's/^/   /'
	$(call execute,run,$(SHORT))

# docs/draw.html holds the numbers of a network that these notebooks train.
long: .venv/study
	@echo "== executing $(words $(LONG)) notebooks: about 3 hours of two cores for train_with_augmentation,"
	@echo "   2.5 for sequences and 1.5 for robustness."
	@echo "   Interrupt it at any time: finished trainings are kept in runs/, and the next"
	@echo "   'make long' goes on from there."
	$(call execute,long,$(LONG))
	@$(BIN)/python -m docs.make_draw

PORT ?= 8000
app: .venv/study
	@$(BIN)/python -m app serve --port $(PORT)

page: .venv/study
	@echo "== writing docs/draw.html from models/robust_small.pt"
	$(BIN)/python -m docs.make_draw

app-picture: .venv/dev
	@echo "== taking the picture of the page for the README"
	$(BIN)/python -m docs.page_picture

test: .venv/dev
	@echo "== running every test; whatever writes works on a copy, so no committed file changes"
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/dev
	@echo "== checking style, formatting and the direction of imports"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

benchmark: .venv/study
	@echo "== measuring; leave the machine alone meanwhile. This machine's rows go to the tables."
	$(BIN)/python -m experiments.training_speed --report experiments/README.md
	$(BIN)/python -m experiments.time_to_99 --report experiments/README.md \
		--figure visualizations/time_to_99.png
	$(BIN)/python -m experiments.app_load --report docs/api.md
	$(BIN)/python -m experiments.scenes --report docs/scenes.md

benchmark-pixels: .venv/study
	@echo "== training, half an hour a run, two at once; runs that the table has are not trained again"
	$(BIN)/python -m experiments.pixel_by_pixel --report results/pixel_by_pixel.csv

benchmark-folds: .venv/study
	@echo "== training each network five times, two at once; finished trainings are kept in runs/"
	$(BIN)/python -m experiments.cross_validation --report visualizations
	$(BIN)/python -m experiments.cross_validation "first study" mild --split "by writer" --folds 0 1 \
		--report visualizations

benchmark-cluster: .venv/cluster
	@echo "== measuring a Dask cluster on this machine; its row goes to docs/cluster.md"
	$(BIN)/python -m experiments.grid_scaling --report docs/cluster.md

tensorboard: .venv/study
	@echo "== showing the logs in runs/"
	$(BIN)/tensorboard --logdir runs

.venv/study: requirements.txt constraints.txt
	@echo "== installing the packages of requirements.txt into .venv (a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed; name another one as in: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	@touch $@

.venv/cluster: .venv/study requirements-cluster.txt
	@echo "== installing the packages of requirements-cluster.txt into .venv"
	$(PIP) -r requirements-cluster.txt
	@touch $@

.venv/dev: .venv/cluster requirements-dev.txt
	@echo "== installing the packages of requirements-dev.txt into .venv"
	$(PIP) -r requirements-dev.txt
	@touch $@

clean:
	@echo "== deleting .venv, kept runs, unpacked data and caches; committed files stay"
	rm -rf .venv runs .pytest_cache .ruff_cache .import_linter_cache .ipynb_checkpoints \
		__pycache__ */__pycache__ */*/__pycache__ data/MNIST/raw/*-ubyte data/MNIST/raw/.lock
