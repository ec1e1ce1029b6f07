# Building needs Go and nothing else. Testing needs root, for its network
# namespaces, and the tools that .ci/deps names (and installs, on Debian).

GO          ?= go
FUZZTIME    ?= 30s
SOAK        ?= 20
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build demo test vet deps bench bench-classifier lint fuzz soak mutate clean

# A static binary runs on any Linux of its architecture.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/turnout ./cmd/turnout

demo: build
	./bin/turnout demo

# Tests named TestBulk... move gigabytes: the race detector would only make
# them slow, and what it can find is found by the others.
test: deps vet
	$(GO) test -count=1 -race -timeout 12m -skip '^TestBulk' ./...
	$(GO) test -count=1 -timeout 5m -run '^TestBulk' ./tests/...

vet:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "gofmt -w is missing on: $$unformatted"; exit 1; fi
	$(GO) vet ./...

deps:
	@./.ci/deps

bench: bench-classifier
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The classifier's figures beside the machine's own, recorded.
bench-classifier:
	TURNOUT_BENCH=$(CURDIR)/bench/results/classifier.md $(GO) test -count=1 -run TestClassifierFigures ./bench

lint: vet
	$(GO) run $(STATICCHECK) ./...

# Each fuzz target of each package, one after the other.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; done

# The namespace tests again and again, each time with other seeds, and with
# transfers of 1 GiB each way; once until all ports of a tunnel that had run out
# are free again; a long flood; the rate of new flows, which wants a machine for
# itself; then the differential tests in full: of the classifier, of the flow
# table against its model and against the kernel's, and the mutations of packets.
soak: deps
	TURNOUT_BULK=1GiB $(GO) test -timeout 0 -count $(SOAK) ./tests/...
	TURNOUT_EXHAUST=full $(GO) test -count=1 -v -timeout 0 -run TestPortsRunOut ./tests
	TURNOUT_FLOOD=30s $(GO) test -count=1 -v -timeout 0 -run TestSYNFlood ./tests
	TURNOUT_RATE=strict $(GO) test -count=1 -v -timeout 0 -run TestNewFlowRate ./tests
	TURNOUT_CHECKS=2000000 $(GO) test -v -timeout 0 -run Differential ./classifier
	TURNOUT_EVENTS=1000000 $(GO) test -count=1 -v -timeout 0 -run TestModel ./dataplane/nat
	TURNOUT_KERNEL_EVENTS=200000 $(GO) test -count=1 -v -timeout 0 ./dataplane/nat/kerneltest
	TURNOUT_MUTATIONS=100000000 $(GO) test -v -timeout 0 -run TestMutated ./classifier/packet

# Plants faults in the classifier and sees that its tests find each.
mutate:
	$(GO) run ./classifier/mutate -out classifier/MUTATIONS.md

clean:
	rm -rf bin
