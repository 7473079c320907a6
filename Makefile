# Every target works first on a fresh clone: it makes .venv and installs what it needs.

SHORT = data_exploration train train_with_validation train_with_rnns results
LONG = train_with_augmentation sequences robustness draw_a_digit results
# In the order in which they use each other's models. All their runs are on record.
ON_RECORD = data_exploration train train_with_validation train_with_augmentation train_with_rnns \
	sequences robustness draw_a_digit results
PYTHON ?= python3
BIN = .venv/bin
# The kernel is that of .venv, whatever others this machine has.
unexport JUPYTER_PATH
export JUPYTER_PREFER_ENV_PATH = 1
# Coalescing the streams leaves only the last state of a progress bar. Kernels communicate through
# files (ipc): over TCP, each would warn that others might listen.
EXECUTE = $(BIN)/jupyter nbconvert --log-level=WARN --to notebook --inplace --execute \
	--KernelManager.transport=ipc \
	--ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.record_timing=False \
	--Exporter.preprocessors=nbconvert.preprocessors.CoalesceStreamsPreprocessor
PIP = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Say how long it takes: $(1) where bfloat16 is fast, $(2) elsewhere.
define say_minutes
	@$(BIN)/python -c 'from study import device; \
		fast = device.fast_precision(device.default_device()) != device.torch.float32; \
		print("   On two cores,", "$(1): this machine has fast bfloat16." if fast \
			else "$(2): this machine trains in float32, as it has no fast bfloat16.")'
endef

# Execute the notebooks $(1) in place, one after the other.
define execute
	@for notebook in $(1); do \
		echo "== $$(date +%H:%M) $$notebook.ipynb"; $(EXECUTE) $$notebook.ipynb || exit 1; \
		$(BIN)/python -m study.findings $$notebook || exit 1; \
	done
	@$(BIN)/python -m study.findings README
	@echo "== $$(date +%H:%M) done. Notebooks, models/, results/, visualizations/ and the README's table are"
	@echo "   rewritten where your numbers differ; 'git restore .' brings back the committed files."
endef

.PHONY: help run long render record adopt app page app-picture test lint benchmark benchmark-folds benchmark-svm benchmark-images benchmark-finder tensorboard clean

help:
	@echo "make run          execute notebooks 1, 2, 3, 5 and 9 in place: 14 minutes to an hour"
	@echo "make long         train the augmented and robust networks and the recurrent ones of notebook 6 (hours; resumable)"
	@echo "make render       execute every notebook again from the recorded runs, without training (minutes)"
	@echo "make record       execute one notebook and put its runs on record: make record NOTEBOOK=train"
	@echo "make adopt        keep the record after an edit of code that changes no number"
	@echo "make app          serve the draw-a-digit page on 127.0.0.1:8000 (PORT=... for another)"
	@echo "make page         write docs/draw.html, the page that needs no server, from its model"
	@echo "make test         run every test; no committed file changes"
	@echo "make lint         check style, formatting and the direction of imports"
	@echo "make benchmark    measure the speed of training and the time to 99%; count how pictures of all kinds are read"
	@echo "make benchmark-folds    compare ways of training by cross-validation (six hours; resumable)"
	@echo "make benchmark-svm      train the support vector machine (half an hour; resumable)"
	@echo "make benchmark-images   fit support vector machines to more and more images (minutes)"
	@echo "make app-picture  take the README's picture of the page again (needs Chromium)"
	@echo "make benchmark-finder   train the network that finds digits (an hour or two; resumable), and count how it reads"
	@echo "make tensorboard  show the training logs in a browser"
	@echo "make clean        delete .venv, kept runs, unpacked data and caches"

run: export STUDY_RECORD = renew
run: .venv/study
	@echo "== executing $(words $(SHORT)) notebooks, including their training runs; finished ones are kept in runs/"
	$(call say_minutes,14 to 25 minutes,about an hour)
	$(call execute,$(SHORT))

# docs/draw.html holds the numbers of a network that these notebooks train.
long: export STUDY_RECORD = renew
long: .venv/app
	@echo "== executing $(words $(LONG)) notebooks. Interrupt it at any time: finished training runs are kept in"
	@echo "   runs/, and the next 'make long' goes on from there."
	$(call say_minutes,about 6 hours,18 hours or more)
	$(call execute,$(LONG))
	@$(BIN)/python -m app.offline

render: .venv/app
	@echo "== executing $(words $(ON_RECORD)) notebooks from the record in results/runs/"
	$(call execute,$(ON_RECORD))

record: export STUDY_RECORD = renew
record: .venv/app
	$(if $(NOTEBOOK),,$(error name a notebook, as in make record NOTEBOOK=train))
	@echo "== executing $(NOTEBOOK).ipynb; what is not in runs/ is trained and put on record"
	$(call execute,$(NOTEBOOK))

adopt: .venv/study
	@echo "== training short runs with the code of the record and with today's"
	$(BIN)/python -m experiments.adopt

PORT ?= 8000
app: .venv/app
	@$(BIN)/python -m app serve --port $(PORT)

page: .venv/app
	@echo "== writing docs/draw.html from models/robust_small.pt"
	$(BIN)/python -m app.offline

app-picture: .venv/dev
	@echo "== taking the picture of the page for the README"
	$(BIN)/python -m tests.page_picture

test: .venv/dev
	@echo "== running every test; whatever writes works on a copy, so no committed file changes"
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/dev
	@echo "== checking style, formatting and the direction of imports"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

benchmark: .venv/app
	@echo "== measuring; leave the machine alone meanwhile"
	$(BIN)/python -m experiments.speed --figure visualizations/time_to_99.png
	$(BIN)/python -m experiments.scenes --report docs/scenes.md

benchmark-folds: .venv/study
	@echo "== training each network five times, two at once; finished training runs are kept in runs/"
	$(BIN)/python -m experiments.cross_validation --report results
	$(BIN)/python -m experiments.cross_validation "strength 0.5" "strength 1" \
		--split "by writer" --folds 0 1 --report results

benchmark-svm: .venv/study
	@echo "== training the support vector machine; what results/svm.csv has is not trained again"
	$(BIN)/python -m experiments.support_vector_machine --report results

benchmark-images: .venv/study
	@echo "== fitting support vector machines to more and more images, some minutes"
	$(BIN)/python -m experiments.how_many_images --report results

benchmark-finder: .venv/app
	@echo "== training models/finder.pt on one thread: an hour where bfloat16 is fast, otherwise 80 minutes or more;"
	@echo "   then reading pages; interrupt it at any time, the same command goes on from there"
	$(BIN)/python -m experiments.finder --report results/finder.csv
	$(BIN)/python -m experiments.pages --choose results/finder_choices.csv --report docs/scenes.md

tensorboard: .venv/study
	@echo "== showing the logs in runs/"
	$(BIN)/tensorboard --logdir runs

# Old Pythons run this line, too, so it uses nothing that is new.
.venv/study: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and \
		"Python 3.11 to 3.14 is needed, and %s is Python %d.%d: name another, as in make PYTHON=python3.12" \
		% ((sys.executable,) + tuple(sys.version_info[:2])))'
	@echo "== installing the packages of requirements.txt into .venv (a few minutes, once)"
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	@touch $@

.venv/app: .venv/study requirements-app.txt
	@echo "== installing the packages of requirements-app.txt into .venv"
	$(PIP) -r requirements-app.txt
	@touch $@

.venv/cluster: .venv/study requirements-cluster.txt
	@echo "== installing the packages of requirements-cluster.txt into .venv"
	$(PIP) -r requirements-cluster.txt
	@touch $@

.venv/dev: .venv/app .venv/cluster requirements-dev.txt
	@echo "== installing the packages of requirements-dev.txt into .venv"
	$(PIP) -r requirements-dev.txt
	@touch $@

clean:
	@echo "== deleting .venv, kept runs, unpacked data and caches; committed files stay"
	rm -rf .venv runs .pytest_cache .ruff_cache .import_linter_cache .ipynb_checkpoints \
		__pycache__ */__pycache__ */*/__pycache__ data/MNIST/raw/*-ubyte data/MNIST/raw/.lock
