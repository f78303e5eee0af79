# minicloud: a whole cloud on one machine. `make help` lists what can be made.

GO   ?= go
# How `make up` runs the cloud: auto (Docker Compose where an engine answers),
# docker, or local (one process).
MODE ?= auto

# The race detector needs a C compiler; without one the tests run without it.
RACE := $(if $(shell command -v $${CC:-cc} || command -v gcc),-race,)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
MODULES     := $(patsubst %/go.mod,%,$(wildcard */go.mod))
PROGRAMS    := $(filter-out bench/%,$(wildcard */cmd/* services/*/cmd/*))

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: up down status logs follow clean
up: build ## start the cloud and wait until it answers (MODE=docker or MODE=local forces how)
	@bin/minicloud up -d -mode $(MODE)
down: bin/minicloud ## stop the cloud; what it keeps stays
	@bin/minicloud down
status: bin/minicloud ## what runs where
	@bin/minicloud status
logs: bin/minicloud ## what the services have logged
	@bin/minicloud logs
follow: bin/minicloud ## the same, as it happens
	@bin/minicloud logs -f
clean: bin/minicloud ## stop the cloud and remove what it keeps, and the binaries
	@bin/minicloud clean
	@rm -rf bin

.PHONY: build
build: check-go ## the binaries, into bin/
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags='-s -w' -o bin/ $(addprefix ./,$(PROGRAMS))

bin/minicloud:
	@$(MAKE) --no-print-directory build

# The version that go.work asks for; Go 1.21 and newer fetch it by themselves
# where GOTOOLCHAIN lets them.
.PHONY: check-go
check-go:
	@command -v $(GO) >/dev/null || { \
	  echo "minicloud: there is no go command; install Go (https://go.dev/dl/), or with Docker alone: docker compose up --build" >&2; exit 1; }
	@want=$$(sed -n 's/^go //p' go.work); have=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//'); \
	  [ -n "$$have" ] || have=$$(cd / && GOTOOLCHAIN=local $(GO) env GOVERSION | sed 's/^go//'); \
	  [ "$$(printf '%s\n%s\n' "$$want" "$$have" | sort -V | head -n 1)" = "$$want" ] || { \
	  echo "minicloud: Go $$have is too old, $$want or newer is needed; install it (https://go.dev/dl/), or with Docker alone: docker compose up --build" >&2; exit 1; }

# Without vet, of which `make verify` runs all.
.PHONY: test
test: build ## every test, with the race detector; container tests skip without a Docker engine
	@docker version >/dev/null 2>&1 || echo "SKIPPED: the container tests, since no Docker engine answers"
	@[ -n "$(RACE)" ] || echo "WITHOUT the race detector, which needs a C compiler"
	$(GO) test $(RACE) -vet=off -timeout 20m work

# Without a package named, go test prints what a test prints even where it passes.
.PHONY: compare-lb
compare-lb: ## how the load balancer, HAProxy and nginx behave on the wire; fails for ours alone
	@cd lb/conformance && $(GO) test -count=1 -run '^TestCompare$$' -args -compare

# The first seed is printed; ARGS="-seed N" runs it again.
SEEDS ?= 25
.PHONY: compare-dns
compare-dns: ## our name server and resolver beside Knot, NSD, BIND and Unbound, over SEEDS generated zones
	@cd dns/differential && $(GO) test -count=1 -timeout 0 -args -seeds $(SEEDS) $(ARGS)

ROUNDS ?= 200
.PHONY: crash-s3
crash-s3: ## kill the object store at random moments under load, ROUNDS times (200: some ten minutes)
	@cd e2e && $(GO) test -count=1 -timeout 0 -v -run '^TestKilledObjectStorage$$' -args -crash-rounds $(ROUNDS)

# The S3 tests of another S3 server's authors. Installing their program compiles
# it, for some minutes the first time.
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
.PHONY: conformance-s3
conformance-s3: build ## the object store under versitygw's S3 tests; docs/s3-conformance.md names what fails
	@GOBIN=$(CURDIR)/bin/tools GOWORK=off $(GO) install $(VERSITYGW)
	cd e2e && $(GO) test -count=1 -timeout 20m -run '^TestS3Conformance$$' -v . -args -versitygw ../bin/tools/versitygw

# One after the other: each takes all cores. A number of inputs, not a time: with a
# time, Go before 1.27 now and then reports its own deadline as the target's failure
# (go.dev/issue/75804). The minimiser is held short, since it can spend long on one input.
FUZZTIME ?= 10000x
FUZZED   ?= $(MODULES)
.PHONY: fuzz
fuzz: ## every fuzz target for some seconds (FUZZED="lb dns" FUZZTIME=1000000x)
	@grep -rlE '^func Fuzz' --include=*_test.go $(FUZZED) | while read -r file; do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./$$(dirname $$file) </dev/null >$(FUZZLOG) 2>&1 \
	      && echo "$$(dirname $$file) $$target: $$(grep -oE 'execs: [0-9]+' $(FUZZLOG) | tail -n 1)" || { cat $(FUZZLOG); exit 1; }; done; done
FUZZLOG := $(shell mktemp -u)

.PHONY: figures
figures: build ## how fast the whole cloud starts and what it holds; recorded in docs/benchmarks.md
	$(GO) run ./bench/cmd/figures

# Run as a program of its own, not by `go run`: a signal to make has to reach it.
.PHONY: bench-lb
bench-lb: build ## our load balancer beside HAProxy, nginx and Caddy where installed, 6 minutes (ARGS="-rounds 9")
	@$(GO) build -trimpath -buildvcs=false -o bin/bench-lb ./bench/cmd/lb && exec bin/bench-lb $(ARGS)
.PHONY: bench-s3
bench-s3: build ## our object store beside MinIO, versitygw and nginx where installed, 8 minutes (ARGS="-only PUT -minio FILE")
	@$(GO) build -trimpath -buildvcs=false -o bin/bench-s3 ./bench/cmd/s3 && exec bin/bench-s3 $(ARGS)
.PHONY: bench-dns
bench-dns: build ## our name server and resolver beside Knot, NSD, BIND, Unbound and CoreDNS, 5 minutes (ARGS="-coredns FILE")
	@$(GO) build -trimpath -buildvcs=false -o bin/bench-dns ./bench/cmd/dns && exec bin/bench-dns $(ARGS)

.PHONY: verify fix
verify: ## formatting, vet, lint, tidy modules
	@out=$$(gofmt -l $(MODULES)); [ -z "$$out" ] || { echo "not formatted (make fix does it):"; echo "$$out"; exit 1; }
	$(GO) vet work
	$(GO) run $(STATICCHECK) $(addsuffix /...,$(addprefix ./,$(MODULES)))
	@for m in $(MODULES); do (cd $$m && GOWORK=off $(GO) mod tidy -diff) || { echo "$$m/go.mod is not tidy (make fix does it)"; exit 1; }; done
fix: ## what verify asks for, as far as a machine can do it
	gofmt -w $(MODULES)
	@for m in $(MODULES); do (cd $$m && GOWORK=off $(GO) mod tidy) || exit 1; done

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what is used; needs the network
	@for m in $(MODULES); do echo "$$m:"; (cd $$m && $(GO) run $(GOVULNCHECK) ./...) || exit 1; done

# Nothing but Docker: the default Dockerfile compiles in a golang image. Where
# that cannot be pulled, an image made of this machine's own Go and of the
# modules that the build needs stands in for it.
STANDIN := minicloud/go-standin
.PHONY: standin check-dockerfile
standin: build
	@cache=$$($(GO) env GOMODCACHE) && d=$$(mktemp -d) && trap 'chmod -R u+w '"$$d"'; rm -rf '"$$d" EXIT && mkdir -p $$d/tmp && \
	GOMODCACHE=$$d/go/pkg/mod GOPROXY=file://$$cache/cache/download GOSUMDB=off CGO_ENABLED=0 \
	  $(GO) build -trimpath -buildvcs=false -ldflags='-s -w' -o $$d/tmp/ $(addprefix ./,$(PROGRAMS)) && rm -f $$d/tmp/* && \
	tar c -C $$d tmp go --transform 's,^src/,usr/local/go/src/,;s,^pkg/,usr/local/go/pkg/,;s,^bin/,usr/local/go/bin/,' \
	  -C $$($(GO) env GOROOT) bin pkg src go.env VERSION --transform 's,^go.env$$,usr/local/go/go.env,;s,^VERSION$$,usr/local/go/VERSION,' | \
	docker import -c 'ENV PATH=/usr/local/go/bin GOROOT=/usr/local/go GOPATH=/go HOME=/tmp GOCACHE=/tmp/cache GOPROXY=off GOTOOLCHAIN=local' - $(STANDIN)

check-dockerfile: standin ## the way of `docker compose up --build`, on free ports and with a stand-in for the golang image
	@COMPOSE=$$(docker compose version >/dev/null 2>&1 && echo "docker compose" || echo docker-compose); \
	docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0; \
	export MINICLOUD_GO_IMAGE=$(STANDIN) COMPOSE_PROJECT_NAME=minicloud-dockerfile; \
	for v in $$(grep -oE 'MINICLOUD_[A-Z0-9_]+_PORT' docker-compose.yml | sort -u); do export $$v=; done; \
	trap '$$COMPOSE down --volumes >/dev/null 2>&1' EXIT; \
	$$COMPOSE up --build -d && for try in $$(seq 60); do \
	  bin/ingressclient -s -f --resolver "$$($$COMPOSE port --protocol udp dns-resolver 5354)" \
	    --connect-to "::$$($$COMPOSE port load-balancer 80)" http://example.com/api/spells && exit 0; sleep 1; done; \
	echo "the cloud that the default Dockerfile builds does not answer" >&2; exit 1
