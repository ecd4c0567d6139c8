# `make demo` and `make test` do all the set-up. Python 3.11 is the only thing they need.
PYTHON ?= python3.11
# Model of the demo's judge: the small bundled one, or any multimodal model that vLLM serves.
BUNDLED := foundry/shapeworld/judge
BASE := foundry/shapeworld/student_base
JUDGE ?= $(BUNDLED)
# A folder of answers belongs to one judge.
BENCHED = builds/shapebench-$(shell sha256sum $(BUNDLED)/model.safetensors | cut -c1-12)
GATED = builds/quality-$(shell sha256sum $(BUNDLED)/model.safetensors | cut -c1-12)
LOOPED = builds/loop-$(shell cat $(BUNDLED)/model.safetensors $(BASE)/model.safetensors | sha256sum | cut -c1-12)
# Of make loop and make grpo-...: how many seeds. Of make loop: anything for more rows and steps.
SEEDS ?= 1
FULL ?=
# Who gives GRPO its rewards: the bundled judge, and the DPO model of make loop where there is one.
DPO = $(firstword $(wildcard $(addsuffix /seed-0/dpo/model/model.safetensors,$(LOOPED)-full $(LOOPED))))
CRITICS = --critic judge=$(BUNDLED) $(if $(DPO),--critic dpo=$(DPO:/model.safetensors=))
GRPO = $(patsubst builds/loop-%,builds/grpo-%,$(LOOPED))
# How many processes share the tests.
WORKERS ?= 2
# Another index for torch wheels, such as PyTorch's own index of CPU wheels.
TORCH_INDEX ?=
export PYTHON TORCH_INDEX
# Where it is set, every process of the tests compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo loop grpo-demo grpo-edits test lint clean
.PHONY: proof-shapebench proof-quality proof-judge
help:
	@echo "make demo    build the environments, run both flows over the bundled rows on real vLLM"
	@echo "make test    every test, real vLLM and a real Prefect server included"
	@echo "make lint    ruff, pyright, import-linter"
	@echo "make loop    label, SFT, preferences, DPO on drawn rows, measured: meant for an hour"
	@echo "             (SEEDS=3 FULL=1: hours, and docs/proof/loop.md)"
	@echo "make grpo-demo   GRPO on ShapeWorld with a trained critic and an untrained one"
	@echo "make grpo-edits  GRPO of edits on CME and on a sum, with the exact truth and a critic: hours"
	@echo "             (either with SEEDS=3: its report in docs/proof)"
	@echo "make setup   only build the environments (make train: that of the trainers alone)"
	@echo "make proof-shapebench  measure the bundled judge anew: docs/proof/shapebench.md"
	@echo "make proof-quality     measure gates and balance: docs/proof/quality.md"
	@echo "make proof-judge       make the bundled judge again (two hours; goes on after a break)"
	@echo "make clean   remove builds/ (environments stay)"

.venv/.complete: pyproject.toml requirements/constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) on this machine: install Python 3.11, or set PYTHON=" >&2; exit 1; }
	@echo "setup: .venv, the factory (some minutes on a fresh machine)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install -qq --disable-pip-version-check -c requirements/constraints.txt -e ".[factory,dev]"
	@touch $@

.PHONY: vllm train
vllm:
	@bash scripts/install_vllm.sh .venv-vllm

train:
	@bash scripts/install_train.sh .venv-train

# Two at a time: an install keeps one core busy.
setup:
	@$(MAKE) --no-print-directory -j2 .venv/.complete vllm train

demo: .venv/.complete vllm
	@.venv/bin/python -m flows.demo --judge $(JUDGE)

loop: setup
	.venv/bin/python -m flows.loop --seeds $(SEEDS) $(if $(FULL),--full) --out $(LOOPED)$(if $(FULL),-full)
	$(if $(FULL),mkdir -p docs/proof && cp $(LOOPED)-full/loop.md docs/proof/loop.md)

grpo-demo: setup
	.venv/bin/python -m examples.grpo_shapeworld.run --task gen $(CRITICS) --critic base=$(BASE) --critic truth --seeds $(SEEDS) --out $(GRPO)
	$(if $(filter-out 1,$(SEEDS)),mkdir -p docs/proof && cp $(GRPO)/grpo.md $(GRPO)/grpo-gen.png docs/proof/)

grpo-edits: setup
	.venv/bin/python -m examples.grpo_shapeworld.run --task edits --task clumsy --critic truth --critic judge=$(BUNDLED) --seeds $(SEEDS) --out $(GRPO)-edits
	$(if $(filter-out 1,$(SEEDS)),mkdir -p docs/proof && cp $(GRPO)-edits/*.png docs/proof/ && cp $(GRPO)-edits/grpo.md docs/proof/grpo-edits.md)

proof-shapebench: setup
	.venv/bin/python -m foundry.evals.run shapebench --launch --model $(BUNDLED) --out $(BENCHED)
	mkdir -p docs/proof && cp $(BENCHED)/shapebench-2000.md docs/proof/shapebench.md
	printf '\n%s\n\n' 'What the comparison leaves open, and how far the curve below still falls: docs/shapeworld.md, "How fair".' >> docs/proof/shapebench.md
	sed -n '/^## Learning curve/,$$p' $(BUNDLED)/README.md >> docs/proof/shapebench.md

proof-judge: setup
	.venv-vllm/bin/python -m foundry.shapeworld.train_judge models/again
	.venv/bin/python -m foundry.evals.remade models/again > models/again/judge.md
	mkdir -p docs/proof && cp models/again/judge.md docs/proof/judge.md

proof-quality: setup
	.venv/bin/python -m foundry.evals.run quality --launch --model $(BUNDLED) --out $(GATED)
	mkdir -p docs/proof && cp $(GATED)/quality-2000.md docs/proof/quality.md

lint: .venv/.complete
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/lint-imports

test: setup
	@bash scripts/install_chromium.sh
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) || \
	    { echo "make test: what failed is run once more, by itself"; .venv/bin/python -m pytest --lf $(PYTEST_ARGS); }

clean:
	rm -rf builds
