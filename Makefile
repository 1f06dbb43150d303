# make demo   install the device side, analyse the sample clip and open the dashboard on it
# make test   install everything, check the style and the types, run the tests
# make lint   the checks without the tests
# make prove-images       execute both Dockerfiles without a container engine (root, an hour), record it in docs/
# make check-parse-stage  compare the table of operator versions with TensorFlow 2.5's interpreter (needs Python 3.8)
# make pins   resolve the pinned packages of the images again
# make clean  remove environments, caches and results
#
# PYTHON picks the interpreter (3.9 or later), PORT the dashboard's port, PYTEST_ARGS goes to pytest.

PYTHON ?= python3
PORT ?= 8080
PYTEST_ARGS ?=

DEMO := .venv-demo
DEV := .venv-test
CLIP := edge_app/sample/pets_s2l1_excerpt.mp4

# Debian packages that tests need: an RTSP server to kill and freeze, a broker, a database, a browser and its driver, the
# reader of Compose files, an SSH server, and what the Dockerfiles' steps are executed with.
SYSTEM_PACKAGES := mosquitto postgresql chromium chromium-driver openssl docker-compose \
  python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
  openssh-server openssh-client busybox-static gcc libc6-dev \
  python3-opencv
# Hosts that the images' steps need and this machine cannot reach: make prove-images WITHOUT="packages.cloud.google.com"
WITHOUT ?=

.DELETE_ON_ERROR:
.PHONY: demo test lint system prove-images check-parse-stage pins clean

demo: $(DEMO)/.installed out/demo/demo.yaml
	$(DEMO)/bin/python -m edge_app analyze $(CLIP) --config out/demo/demo.yaml --out out/demo
	$(DEMO)/bin/python -m edge_app run --config out/demo/demo.yaml --port $(PORT)

# The dashboard writes what is changed there into its configuration, and camera files beside it: not into tracked files.
# Paths start from the file that holds them.
out/demo/demo.yaml: config/demo.yaml
	@mkdir -p $(@D)
	@{ echo '# A copy of config/demo.yaml for make demo, made anew when that one is newer; change it as you like.'; \
	  sed -e 's|: \.\./out/demo/|: |' -e 's|: \.\./|: ../../|' -e 's|: cameras/|: ../../config/cameras/|' $<; } > $@

test: system lint
	$(DEV)/bin/python -m pytest $(PYTEST_ARGS)

prove-images: $(DEV)/.installed
	$(DEV)/bin/python -m tests.images.prove --work /var/tmp/edge-images \
	  $(addprefix --without-host ,$(WITHOUT)) --record docs/image_proof.md

check-parse-stage: $(DEV)/.installed
	$(DEV)/bin/python -m tests.training.compile.parse_stage --work work/runtimes --record docs/parse_stage.md

pins: $(DEV)/.installed
	$(DEV)/bin/python tests/images/pin_requirements.py

lint: $(DEV)/.installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/bandit -q -c pyproject.toml -r edge_app

# As root on Debian it installs what is missing, else it says what is.
system:
	@missing=$$(for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } \
	    || echo "apt-get failed; tests that need these are skipped:" $$missing >&2; \
	else echo "tests that need these are skipped, install them as root:" $$missing >&2; fi

$(DEMO)/.installed: EXTRAS := cpu
$(DEV)/.installed: EXTRAS := cpu,tls,mqtt,alerts,fleet,scale,train,dev

# A stamp file tells that the environment is complete; a changed pyproject.toml installs again.
$(DEMO)/.installed $(DEV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { \
	  echo "Python 3.9 or later is needed, but '$(PYTHON)' is not: install one and name it, such as make PYTHON=python3.11" >&2; \
	  exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(DEMO) $(DEV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find edge_app training tests -name __pycache__ -type d -prune -exec rm -rf {} +
