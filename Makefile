# Weir's development tasks. `make help` lists them.

GOLANGCI_VERSION := v2.15.0
GOTESTSUM_VERSION := v1.13.0
FUZZTIME ?= 20s
ACCIDENTS ?= 200
METAMORPHIC ?= 1h
CAMPAIGN ?= 30m
BIN := $(CURDIR)/bin

# Packages whose tests kill processes and measure time, or start JVMs, run after the others, in two
# lanes of one package at a time: both wait for half of their time. The lane of JVMs is nicer.
LONGEST := ./internal/engine # first, so that the others run beside it
KILLS := ./cmd/weir ./internal/broker/embedded
JVMS := ./internal/conformance ./internal/stack ./internal/clients

# Tests with a long version, which WEIR_TEST_LONG selects.
LONG := ^(TestKill|TestKafkaSurvivesKillsAndAZombie|TestKills|TestParquetReaders|TestSubscribeSurvivesKills|TestMQTTSurvivesKills|TestIdleConnections|TestKillKeepsOffsetsWithRows|TestKillNeverTearsATransaction|TestOpenTransactionsSurvive|TestCrashAtEachWriteOfARecovery|TestAccidentsInHistories|TestFlinkSurvivesKills|TestRandomRequests|TestAlertsSurviveKills|TestUpSurvivesKills|TestStopAtAnyMomentLeavesNothingOpen|TestChaos|TestChaosJoins|TestPipelineSurvivesKills|TestFileMeans|TestHourlyAverages|TestBombsInLittleMemory|TestCrowd|TestACLTableOfKafka)$$
LONG_PACKAGES := ./internal/broker/front ./internal/broker/embedded ./internal/clients ./internal/sink/postgres ./internal/sink/sqlite ./internal/sink/files ./cmd/weir

# With the race detector, a process with more than one goroutine would wait for a second at its exit.
export GORACE ?= atexit_sleep_ms=0

.DEFAULT_GOAL := help
.PHONY: help build deps check-deps compose-env test test-kills test-jvms test-fast long metamorphic accidents campaign lint fmt vuln fuzz console console-check dashboards dashboards-check conformance expressions bench-produce bench-engine bench-restore bench-state bench-nexmark bench-console bench-codec bench-start bench-wait bench-sync bench-front bench-ingest bench-sink bench-flink clients test-flink upgrade rename reference mutate conformance-golden clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/weir
	go build -o $(BIN)/weir ./cmd/weir

# Shell code that sets missing to the Debian packages whose commands are not found.
MISSING = missing=""; \
	need() { command -v $$1 >/dev/null || { shift; missing="$$missing $$*"; }; }; \
	need java openjdk-17-jdk-headless; need mvn maven; need pip3 python3-pip; need kcat kcat; need openssl openssl; \
	need npm nodejs npm; need chromium chromium; need prometheus prometheus; \
	need prometheus-alertmanager prometheus-alertmanager; need buildah buildah; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -x /usr/sbin/mosquitto ] || need mosquitto mosquitto; need mosquitto_pub mosquitto-clients

deps: ## install the tools that the tests need (Debian, root): JDK, Maven, pip, kcat, npm, Chromium, Prometheus, Buildah, PostgreSQL, mosquitto and its clients, OpenSSL
	@$(MISSING); \
	[ -z "$$missing" ] && exit 0; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

check-deps: # names the tools that are missing
	@$(MISSING); \
	[ -z "$$missing" ] && exit 0; \
	echo "Missing tools. Install these Debian packages:$$missing (sudo make deps does it), then run make again." >&2; exit 1

COMPOSE_ENV ?= deploy/.env
compose-env: $(COMPOSE_ENV) ## generate the passwords of deploy/compose.yaml, once

$(COMPOSE_ENV):
	@umask 077; for name in WEIR_CONSOLE_TOKEN POSTGRES_PASSWORD; do \
		echo "$$name=$$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')"; \
	done > $@

console: internal/console/web/node_modules ## build the console's page into internal/console/dist, which is committed
	cd internal/console/web && node build.mjs

console-check: check-deps internal/console/web/node_modules
	cd internal/console/web && node build.mjs --check

internal/console/web/node_modules: internal/console/web/package-lock.json
	cd internal/console/web && npm ci --silent && touch node_modules

dashboards: deploy/grafana/node_modules ## build deploy/grafana/dashboards, which are committed, from deploy/grafana/src
	cd deploy/grafana && node_modules/.bin/tsc && node build/main.js

dashboards-check: check-deps deploy/grafana/node_modules
	cd deploy/grafana && node_modules/.bin/tsc && node build/main.js --check

deploy/grafana/node_modules: deploy/grafana/package-lock.json
	cd deploy/grafana && npm ci --silent && touch node_modules

# $(call tests,FLAGS,PACKAGES) runs tests. With RERUN=1 a test that fails runs once more, alone, and is
# listed at the end, unless the failure is a data race or more than three tests fail.
tests = $(if $(RERUN),go run gotest.tools/gotestsum@$(GOTESTSUM_VERSION) --format pkgname --rerun-fails=1 --rerun-fails-max-failures=3 \
	--rerun-fails-run-root-test --rerun-fails-abort-on-data-race --packages="$(2)" -- $(1),go test $(1) $(2))

# The tests of JVMS compare Weir with other programs: the race detector runs the same code elsewhere.
test: check-deps internal/console/web/node_modules ## run all tests, real Kafka included; the race detector is on where Weir runs alone
	$(call tests,-race -p 3 -parallel 4 -timeout 30m,$$(go list $(LONGEST) && go list ./... | grep -v -x -F "$$(go list $(LONGEST) $(KILLS) $(JVMS))"))
	cd bench && go test -race ./...
	$(MAKE) --no-print-directory -j 2 --output-sync=line test-kills test-jvms

test-kills: # a lane of test
	$(call tests,-race -p 1 -timeout 40m,$(KILLS))

test-jvms: # likewise
	nice $(call tests,-p 1 -timeout 30m,$(JVMS))

mutate: ## seed one bug at a time into the transactional clients: their packages' scripts must catch each (ten minutes)
	go run ./internal/txtest/mutate

accidents: ## 200 operator accidents in stateful pipelines, each at a random moment
	WEIR_TEST_ACCIDENTS=$(ACCIDENTS) go test -count 1 -timeout 60m -v -run '^TestAccidents$$' ./cmd/weir

campaign: build check-deps ## inject faults for 90 minutes, on the embedded broker and, with groups and with joins, on three real ones; writes docs/results/campaign.md
	@mkdir -p docs/results/campaign; at=docs/results/campaign/$$(date -u +%Y%m%d-%H%M); dir=$(CURDIR)/.weir-campaign; code=0; \
	$(BIN)/weir chaos --data-dir $$dir --duration $(CAMPAIGN) --rate 4000 --result $$at-embedded.json || code=$$?; \
	for pipeline in groups joins; do \
		$(BIN)/weir kafka up --brokers 3 --data-dir $$dir/$$pipeline && \
		{ $(BIN)/weir chaos --on kafka --pipeline $$pipeline --data-dir $$dir/$$pipeline --duration $(CAMPAIGN) --rate 4000 --result $$at-kafka-$$pipeline.json || code=$$?; }; \
		$(BIN)/weir kafka down --data-dir $$dir/$$pipeline; \
	done; \
	$(BIN)/weir chaos --page $$(ls docs/results/campaign/*.json | sort -r | paste -sd,) > docs/results/campaign.md; \
	[ $$code != 0 ] || rm -rf $$dir; exit $$code

test-fast: ## run the tests that need no JVM, with shortened versions of the long ones
	go test -short -timeout 10m ./... && cd bench && go test -short ./...

long: check-deps upgrade ## run make upgrade and the long versions of tests: fault injection under joins, 1,300 kills inside commits and aborts of the embedded broker, 400 accidents with a checker over histories, 100 kills under a Flink job, a million random requests, 100 kills of weir up, kills of sinks and of ingest, and others (three hours)
	WEIR_TEST_LONG=1 go test -p 1 -count=1 -timeout 3h -v -run '$(LONG)' $(LONG_PACKAGES)

metamorphic: ## test generated pipelines for METAMORPHIC (1h), each in many ways that must yield equal rows; METAMORPHIC_SEED=N runs one
	METAMORPHIC=$(METAMORPHIC) go test -count 1 -timeout 0 -v -run '^TestMetamorphic$$' ./internal/sqltest/metamorphic

lint: console-check dashboards-check ## check that the built console and dashboards are up to date, then run golangci-lint (installed into bin/ if missing)
	@tool=$$(command -v golangci-lint || ls $$(go env GOPATH)/bin/golangci-lint 2>/dev/null || ls $(BIN)/golangci-lint 2>/dev/null); \
	if [ -z "$$tool" ] || ! "$$tool" version 2>/dev/null | grep -q $(GOLANGCI_VERSION:v%=%); then \
		echo "installing golangci-lint $(GOLANGCI_VERSION) into bin/ (a few minutes)"; \
		GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION); \
		tool=$(BIN)/golangci-lint; \
	fi; \
	GOMEMLIMIT=2GiB "$$tool" run ./... && cd bench && GOMEMLIMIT=2GiB "$$tool" run ./...

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

vuln: ## check for known vulnerabilities (needs network access to the database)
	go run golang.org/x/vuln/cmd/govulncheck@latest ./... && cd bench && go run golang.org/x/vuln/cmd/govulncheck@latest ./...

fuzz: ## run each fuzz target for FUZZTIME (20s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

MODULE_NOW := $(shell go list -m)
rename: ## change the module path: make rename MODULE=example.org/team/weir
	@[ -n "$(MODULE)" ] || { echo "usage: make rename MODULE=example.org/team/weir" >&2; exit 2; }
	go mod edit -module '$(MODULE)' # refuses an invalid path before anything is changed
	git grep -lIF '$(MODULE_NOW)' | xargs -r sed -i 's#$(subst .,\.,$(MODULE_NOW))#$(MODULE)#g'
	gofmt -w $$(git ls-files '*.go')

reference: ## regenerate the generated parts of docs/reference
	go test -count 1 -run '^TestReference$$' ./cmd/weir ./internal/expr ./internal/plan -update

conformance: check-deps ## run SQL on Weir and on real Flink over the same topics, and compare the rows (make test runs an eighth)
	go test ./internal/conformance -timeout 60m -count=1 -v -run 'TestConformance' -datadriven-quiet -all

conformance-golden: check-deps ## record Flink's rows for new and changed pipelines in internal/conformance/golden
	go test -timeout 20m -count=1 -v -run 'TestConformance/pipelines' ./internal/conformance -golden -missing

expressions: check-deps ## record real Flink's results of thousands of expressions, which make test compares with Weir's
	go test -timeout 30m -count=1 -v -run '^TestAskFlink$$' ./internal/conformance -update-expressions all

bench-produce: check-deps ## compare weir produce with kafka-producer-perf-test on one real broker
	cd bench && go run ./produce

bench-engine: check-deps ## compare weir run with Kafka Streams and a plain reader on one real broker: throughput and latency; BEFORE=REVISION adds an earlier revision
	cd bench && go run ./engine $(if $(BEFORE),-before $(BEFORE))

bench-restore: check-deps ## measure the time from a crash to the first commit, with and without local state, as the state grows tenfold
	cd bench && go run ./restore

bench-state: check-deps ## measure joins, groups and Top-N with states of a million keys: memory, throughput, restores and disk, also on Flink with RocksDB; KEYS=1000000,10000000 sets the sizes
	cd bench && go run ./state $(if $(KEYS),-keys $(KEYS))

bench-nexmark: check-deps ## compare Nexmark's queries on Weir and on Flink, on one real broker: throughput, CPU, memory, results; ROWS=2000000, QUERIES=q0,q1 and ROUNDS=3 choose less or more; BEFORE=REVISION adds an earlier revision
	cd bench && go run ./nexmark $(if $(ROWS),-rows $(ROWS)) $(if $(QUERIES),-queries $(QUERIES)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(BEFORE),-before $(BEFORE))

bench-console: ## measure the cost of watching: metrics, console, a live preview and 200 slow pages, against none
	cd bench && go run ./console

bench-codec: ## compare the formats with encoding/json and generic decoding, and their bytes per reading in the log
	cd bench && go run ./codec

bench-start: ## measure the time and memory of a start of the embedded broker with 1 and 4 GB stored, in 512 MB of memory
	cd bench && go run ./start

bench-wait: ## measure how long clients of the embedded broker wait while it compacts, deletes, or answers a backfill
	cd bench && go run ./wait

bench-sync: ## measure how many records and transactions the embedded broker acknowledges per second, with and without --sync
	cd bench && go run ./sync

bench-front: ## measure what the checks of the embedded broker's port cost in CPU, against none
	cd bench && go run ./front

bench-ingest: check-deps ## compare weir ingest with Telegraf on one mosquitto and one real broker: throughput, CPU, memory, delays, losses after kills
	cd bench && go run ./ingest

bench-sink: check-deps ## compare how rows get from a topic into PostgreSQL: COPY by psql, Weir, row by row, Flink's JDBC sink; ROWS=1000000 and ROUNDS=3 choose less or more
	cd bench && go run ./sink $(if $(ROWS),-rows $(ROWS)) $(if $(ROUNDS),-rounds $(ROUNDS))
bench-flink: check-deps ## run the same pipelines with weir run and on Flink, on one real broker, and compare throughput
	cd bench && go run ./engine -sides weir,flink -latency-seconds 0

clients: check-deps ## test the clients of others on the embedded broker: Java, Flink, Kafka Streams, Connect, librdkafka, Python, Node.js, Go; UPDATE=1 records the results
	WEIR_TEST_CLIENTS=1 go test -count 1 -timeout 60m -v ./internal/clients $(if $(UPDATE),-update)

test-flink: check-deps ## send a million readings through Flink while its processes and three brokers are killed
	WEIR_TEST_FLINK_READINGS=1000000 go test -count 1 -timeout 60m -v -run TestFlinkSurvivesKills ./cmd/weir

OLD ?= HEAD~1
upgrade: ## upgrade and downgrade the processes of a pipeline one by one under load, from and to version OLD (HEAD~1), and verify
	@dir=$$(mktemp -d) && trap 'git worktree remove --force '$$dir'/src; rm -rf '$$dir EXIT && \
	git worktree add -q --detach $$dir/src $(OLD) && (cd $$dir/src && go build -o $$dir/weir ./cmd/weir) && \
	WEIR_OLD_BINARY=$$dir/weir go test -count 1 -v -run '^TestRollingUpgrade$$' ./cmd/weir

clean: ## remove what build and lint have created
	rm -rf $(BIN)
