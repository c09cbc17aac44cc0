# What a person types. CI calls the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXAMPLE := example
SHELL := /bin/bash
# Tests that boot machines are tried once more: a host that stalls for minutes is no defect of ours, a defect fails twice.
AGAIN := --reruns 1 --reruns-delay 5 -rR --durations=25
# They wait more than they work: two for each processor, and first those that wait longest.
WAITING := -n $$(( 2 * $$(nproc) )) --dist loadfile --no-loadscope-reorder
# Branch coverage of both runs together, gated by `fail_under`; `coverage report --skip-covered --sort=cover` shows the rest.
MEASURED := --cov --cov-report= --cov-fail-under=0
MEASURED_TOO := --cov --cov-report= --cov-append

.PHONY: example test-host test-hosts test test-all test-provision test-aws test-openstack test-vmware check check-mypy check-pyright check-rooms docs bench setup clean

example: setup  ## bake the example, from nothing to a tested image
	mkdir -p $(EXAMPLE) && cp imagefile.py.example $(EXAMPLE)/imagefile.py
	$(BIN)/bake -C $(EXAMPLE)

test: setup test-host  ## unit, contract, command line, and a bounded set of live tests
	$(BIN)/pytest tests/unit -n auto -m "not all" $(MEASURED)
	$(BIN)/pytest tests/live tests/contract tests/cli $(WAITING) -m "not all and not aws and not openstack and not virtualbox and not vmware" $(AGAIN) $(MEASURED_TOO)

test-all: setup test-host  ## everything that needs no account: all kill points, all live tests
	$(BIN)/pytest -m "not aws and not openstack and not virtualbox and not vmware" --hypothesis-profile=new $(AGAIN)

test-provision: setup test-host  ## Ansible, Puppet, Salt, Itamae on real machines, and all in one image; the emulated one alone takes half an hour
	$(BIN)/pytest tests/live/provision tests/live/ssh/test_ansible.py tests/live/test_bake_provisioners.py -m "all or not all" -s $(AGAIN)

test-hosts: setup  ## on Debian 12 to sid as hosts, with Python 3.11 to 3.14; needs root; draws docs/compatibility.md
	$(BIN)/python -m tests.hosts $(HOSTS)

test-openstack: setup  ## against an OpenStack: OS_CLOUD says which, or OPENSTACK_UP=tests/rigs/openstack-up brings one up
	$(BIN)/bake -C tests/rigs/cloud-init build --no-test
	tests/rigs/with-openstack $(BIN)/pytest -m openstack $(AGAIN)

test-virtualbox: setup test-host  ## against VirtualBox from Debian sid, made where BAKERY_VIRTUALBOX_ROOT says; needs root
	@[ "$$(id -u)" = 0 ] || { echo "test-virtualbox needs root: it mounts VirtualBox's folder over /usr for its programs" >&2; exit 1; }
	$(BIN)/pytest -m virtualbox $(AGAIN)

test-vmware: setup  ## against a vCenter: VSPHERE_SERVER, VSPHERE_USER, VSPHERE_PASSWORD and BAKERY_VSPHERE_BASE say which
	$(BIN)/pytest -m vmware $(AGAIN)

test-aws: setup  ## against a real account; costs a little, tagged and swept
	$(BIN)/pytest -m aws

check: setup  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory --jobs 2 --output-sync check-mypy check-pyright check-rooms

check-mypy:
	$(BIN)/mypy --no-incremental  # its cache hides what a fresh clone finds

check-pyright:
	$(BIN)/pyright

check-rooms:
	$(BIN)/lint-imports --no-cache

docs: setup  ## the manual, every warning an error
	$(BIN)/pip install --quiet --group docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build

bench: setup  ## the figures of benchmarks/, in one run
	$(BIN)/python -m benchmarks

test-host:
	tools/host-packages tests

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml tools/host-packages
	tools/host-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[aws,openstack,vmware]' --group dev
	touch $@

clean:
	rm -rf $(VENV) $(EXAMPLE) docs/_build
