# Every target works first on a fresh clone: it makes .venv and installs what it needs.

NOTEBOOKS = data_exploration.ipynb train.ipynb train_with_validation.ipynb \
	train_with_rnns.ipynb results.ipynb
PYTHON ?= python3
BIN = .venv/bin
NBCONVERT = $(BIN)/jupyter nbconvert --log-level=WARN --to notebook --inplace
EXECUTE = $(NBCONVERT) --execute --ExecutePreprocessor.timeout=-1 \
	--ExecutePreprocessor.record_timing=False

# Let the C library (glibc) keep freed memory rather than give it back and ask again in every step
# of a training: 10 to 20 % faster, with the same results.
export MALLOC_MMAP_THRESHOLD_ = 1073741824
export MALLOC_TRIM_THRESHOLD_ = 1073741824

# Execute the notebooks named in $(1) in place, one after the other.
define execute
	@for notebook in $(1); do \
		echo "== $$notebook"; start=$$(date +%s); \
		$(EXECUTE) $$notebook && $(NBCONVERT) --coalesce-streams $$notebook || exit 1; \
		echo "   done in $$(( $$(date +%s) - start )) s"; \
	done
	@echo "Notebooks, models/ and visualizations/ are new; 'git restore .' brings back the committed."
endef

.PHONY: help run augmentation app app-notebook app-picture test lint benchmark benchmark-cluster \
	tensorboard clean

help:
	@echo "make run          train everything: execute the notebooks in place"
	@echo "make augmentation train the augmented networks: an hour and a half on two cores"
	@echo "make app          serve the draw-a-digit page on 127.0.0.1:8000 (PORT=... for another)"
	@echo "make test         run every test; no committed file changes"
	@echo "make lint         check style and formatting"
	@echo "make benchmark    measure training speed, the page under load, and the time to 99 %"
	@echo "make app-notebook fix anew when the page refuses: execute draw_a_digit.ipynb in place"
	@echo "make app-picture  draw the page's picture for the README anew (needs Chromium)"
	@echo "make benchmark-cluster  measure the grid on a Dask cluster of this machine"
	@echo "make tensorboard  show the training logs in a browser"
	@echo "make clean        delete .venv, kept runs and caches"

run: .venv/study
	$(call execute,$(NOTEBOOKS))

augmentation: .venv/study
	@echo "This takes about 90 minutes on two cores with fast bfloat16. Interrupt it whenever you like:"
	@echo "finished trainings are kept in runs/, and the next 'make augmentation' goes on from there."
	$(call execute,train_with_augmentation.ipynb results.ipynb)

PORT ?= 8000
app: .venv/study
	@echo "== draw a digit: http://127.0.0.1:$(PORT) (the models take a few seconds; Ctrl-C ends it)"
	@PORT=$(PORT) $(BIN)/gunicorn -c app/gunicorn.conf.py --log-level warning

app-notebook: .venv/study
	$(call execute,draw_a_digit.ipynb)

app-picture: .venv/dev
	APP_PICTURE=visualizations/app.png CI_BROWSER_REQUIRED=1 \
		$(BIN)/python -m pytest -q tests/test_app_browser.py -k picture

test: .venv/dev
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: .venv/study
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/app_load.py
	$(BIN)/python benchmarks/time_to_99.py --figure visualizations/time_to_99.png

benchmark-cluster: .venv/cluster
	$(BIN)/python benchmarks/grid_scaling.py

tensorboard: .venv/study
	$(BIN)/tensorboard --logdir runs

.venv/study: requirements.txt constraints.txt
	@echo "== installing the packages of requirements.txt into .venv (a few minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

.venv/cluster: .venv/study requirements-cluster.txt
	@echo "== installing the packages of requirements-cluster.txt into .venv"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-cluster.txt -c constraints.txt
	@touch $@

.venv/dev: .venv/cluster requirements-dev.txt
	@echo "== installing the packages of requirements-dev.txt into .venv"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache __pycache__ */__pycache__ data/MNIST/raw/*-ubyte
