# Weir: the few things that people do. `make help` lists them.

GOLANGCI_VERSION := v2.15.0
FUZZTIME ?= 20s
ACCIDENTS ?= 200
METAMORPHIC ?= 1h
CAMPAIGN ?= 30m
BIN := $(CURDIR)/bin

# Packages whose tests run alone: they start JVMs, or kill processes and look at the clock.
HEAVY := ./internal/conformance ./internal/stack ./cmd/weir ./internal/broker/embedded

# Tests that run a long version where WEIR_TEST_LONG is set.
LONG := ^TestKillKeepsOffsetsWithRows$$
LONG_PACKAGES := ./internal/broker/embedded

.DEFAULT_GOAL := help
.PHONY: help build deps test test-fast long metamorphic accidents campaign lint fmt vuln fuzz console console-check dashboards dashboards-check conformance expressions bench-produce bench-engine bench-restore bench-console bench-codec bench-flink test-flink rename reference mutate conformance-golden clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/weir
	go build -o $(BIN)/weir ./cmd/weir

deps: ## install what the tests need: a JDK, Maven and pip for real Kafka and Flink, kcat as an independent client
	@missing=""; \
	command -v java >/dev/null || missing="$$missing openjdk-17-jdk-headless"; \
	command -v mvn >/dev/null || missing="$$missing maven"; \
	command -v pip3 >/dev/null || missing="$$missing python3-pip"; \
	command -v kcat >/dev/null || missing="$$missing kcat"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v prometheus >/dev/null || missing="$$missing prometheus"; \
	command -v prometheus-alertmanager >/dev/null || missing="$$missing prometheus-alertmanager"; \
	command -v buildah >/dev/null || missing="$$missing buildah"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
		echo "The tests need:$$missing. Install these (Debian: sudo apt-get install$$missing) and run make again." >&2; exit 1; \
	fi

console: internal/console/web/node_modules ## build the console's page into internal/console/dist, which is committed
	cd internal/console/web && node build.mjs

console-check: deps internal/console/web/node_modules
	cd internal/console/web && node build.mjs --check

internal/console/web/node_modules: internal/console/web/package-lock.json
	cd internal/console/web && npm ci --silent && touch node_modules

dashboards: deploy/grafana/node_modules ## make deploy/grafana/dashboards, which are committed, from deploy/grafana/src
	cd deploy/grafana && node_modules/.bin/tsc && node build/main.js

dashboards-check: deps deploy/grafana/node_modules
	cd deploy/grafana && node_modules/.bin/tsc && node build/main.js --check

deploy/grafana/node_modules: deploy/grafana/package-lock.json
	cd deploy/grafana && npm ci --silent && touch node_modules

test: deps internal/console/web/node_modules ## run all tests with the race detector, real Kafka included
	go test -race -timeout 30m $$(go list ./... | grep -v -x -F "$$(go list $(HEAVY))")
	cd bench && go test -race ./...
	go test -race -p 1 -timeout 60m $(HEAVY)

mutate: ## put one fault after the other into the transactional clients: the scripts of their packages must find each (ten minutes)
	go run ./internal/txtest/mutate

accidents: ## 200 accidents of operators to stateful pipelines, each at a random moment
	WEIR_TEST_ACCIDENTS=$(ACCIDENTS) go test -count 1 -timeout 60m -v -run '^TestAccidents$$' ./cmd/weir

campaign: build deps ## faults for an hour, half on three real brokers, half on the embedded one; docs/results/campaign.md is made of it
	@mkdir -p docs/results/campaign; at=docs/results/campaign/$$(date -u +%Y%m%d-%H%M); dir=$(CURDIR)/.weir-campaign; code=0; \
	$(BIN)/weir chaos --data-dir $$dir --duration $(CAMPAIGN) --rate 4000 --result $$at-embedded.json || code=$$?; \
	$(BIN)/weir kafka up --brokers 3 --data-dir $$dir && \
	{ $(BIN)/weir chaos --on kafka --data-dir $$dir --duration $(CAMPAIGN) --rate 4000 --result $$at-kafka.json || code=$$?; }; \
	$(BIN)/weir kafka down --data-dir $$dir; \
	$(BIN)/weir chaos --page $$(ls docs/results/campaign/*.json | sort -r | paste -sd,) > docs/results/campaign.md; \
	[ $$code != 0 ] || rm -rf $$dir; exit $$code

test-fast: ## run the tests that start no JVM, the long ones shortened
	go test -short -timeout 10m ./... && cd bench && go test -short ./...

long: deps ## run the tests that have long versions in these: 1,000 kills in the commits of the embedded broker, and others (an hour)
	WEIR_TEST_LONG=1 go test -p 1 -count=1 -timeout 3h -v -run '$(LONG)' $(LONG_PACKAGES)

metamorphic: ## generated pipelines for METAMORPHIC (1h), each run in many ways that must give the same rows; METAMORPHIC_SEED=N runs one
	METAMORPHIC=$(METAMORPHIC) go test -count 1 -timeout 0 -v -run '^TestMetamorphic$$' ./internal/sqltest/metamorphic

lint: console-check dashboards-check ## see that what is made of internal/console/web and deploy/grafana/src is up to date; golangci-lint, installed into bin/ where it is missing
	@tool=$$(command -v golangci-lint || ls $$(go env GOPATH)/bin/golangci-lint 2>/dev/null || ls $(BIN)/golangci-lint 2>/dev/null); \
	if [ -z "$$tool" ] || ! "$$tool" version 2>/dev/null | grep -q $(GOLANGCI_VERSION:v%=%); then \
		echo "installing golangci-lint $(GOLANGCI_VERSION) into bin/ (a few minutes)"; \
		GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION); \
		tool=$(BIN)/golangci-lint; \
	fi; \
	GOMEMLIMIT=2GiB "$$tool" run ./... && cd bench && GOMEMLIMIT=2GiB "$$tool" run ./...

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

vuln: ## look for known vulnerabilities (needs their database)
	go run golang.org/x/vuln/cmd/govulncheck@latest ./... && cd bench && go run golang.org/x/vuln/cmd/govulncheck@latest ./...

fuzz: ## run each fuzz target for FUZZTIME (20s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

MODULE_NOW := $(shell go list -m)
rename: ## give the module another path: make rename MODULE=example.org/team/weir
	@[ -n "$(MODULE)" ] || { echo "usage: make rename MODULE=example.org/team/weir" >&2; exit 2; }
	go mod edit -module '$(MODULE)' # refuses an invalid path before anything is changed
	git grep -lIF '$(MODULE_NOW)' | xargs -r sed -i 's#$(subst .,\.,$(MODULE_NOW))#$(MODULE)#g'
	gofmt -w $$(git ls-files '*.go')

reference: ## write the parts of docs/reference that are made from the code
	go test -count 1 -run '^TestReference$$' ./cmd/weir ./internal/expr -update

conformance: deps ## run SQL on Weir and on real Flink over the same topics, and compare
	go test -timeout 10m -count=1 -v -datadriven-quiet -run 'TestConformance' ./internal/conformance

conformance-golden: deps ## ask Flink for the rows of pipelines that are new or have changed, and keep them in internal/conformance/golden
	go test -timeout 20m -count=1 -v -run 'TestConformance/pipelines' ./internal/conformance -golden -missing

expressions: deps ## ask real Flink for the text of thousands of expressions, which make test compares with Weir's
	go test -timeout 30m -count=1 -v -run '^TestAskFlink$$' ./internal/conformance -update-expressions all

bench-produce: deps ## weir produce beside kafka-producer-perf-test on one real broker, ratios printed
	cd bench && go run ./produce

bench-engine: deps ## weir run beside Kafka Streams and plain reading on one real broker, ratios and latency printed; BEFORE=REVISION compares with an earlier one
	cd bench && go run ./engine $(if $(BEFORE),-before $(BEFORE))

bench-restore: deps ## first commit after a crash, with the local copy of the state and without, as the state grows tenfold
	cd bench && go run ./restore

bench-console: ## what it costs to watch: metrics, console and a live preview beside none, and 200 slow pages
	cd bench && go run ./console

bench-codec: ## formats beside encoding/json and the libraries' generic paths, and bytes a reading in the log
	cd bench && go run ./codec

bench-flink: deps ## the same pipelines by weir run and on Flink, on one real broker, ratios printed
	cd bench && go run ./engine -sides weir,flink -latency-seconds 0

test-flink: deps ## a million readings through Flink while its processes and three brokers are killed
	WEIR_TEST_FLINK_READINGS=1000000 go test -count 1 -timeout 60m -v -run TestFlinkSurvivesKills ./cmd/weir

clean: ## remove what build and lint made
	rm -rf $(BIN)
