# The two commands: `make up` shows Tartan at work, `make test` runs every test. Each does its own set-up.
# System Node is only for npm; everything else runs with the Node that package.json pins.
NODE := node_modules/.bin/node
LAB ?= main
SOURCES := $(shell find src profiles facts native scripts/build.ts scripts/compile.ts package-lock.json -type f 2>/dev/null)

.PHONY: help up down test test-k8s bench build image release deps docs format clean

help:
	@echo 'make up        three nodes on this host under profile flannel, pods running; stays up (root)'
	@echo 'make down      removes every trace of it (root)'
	@echo 'make test      all tests: lint, types, units, then against the real kernel (root)'
	@echo 'make test-k8s  the tests on a real Kubernetes cluster (root); builds Kubernetes first, once'
	@echo 'make bench     the benchmarks, each beside a named peer (root); WHAT="cni peers" runs only these'
	@echo 'make build     dist/tartan and dist/tartan-cni'
	@echo 'make image     an OCI image of them in dist/image, without a registry; ARCH=arm64 for other machines'
	@echo 'make release   images for amd64 and arm64, manifests, chart, bills of materials, checksums in dist/release'

up: build
	@$(NODE) scripts/root.ts 'make up'
	@dist/tartan lab up --name $(LAB)

down: build
	@$(NODE) scripts/root.ts 'make down'
	@dist/tartan lab down --name $(LAB)

test: build
	@scripts/kubernetes.sh kube-proxy kube-apiserver kubectl >/dev/null || echo 'make: the tests with an API server and beside kube-proxy will be skipped'
	@scripts/neighbours.sh >/dev/null || echo 'make: the tests beside Docker, firewalls and link managers will be skipped'
	@$(NODE) scripts/test.ts all

test-k8s: build
	@$(NODE) scripts/root.ts 'make test-k8s'
	@scripts/kubernetes.sh >/dev/null
	@deploy/image/build.sh >/dev/null
	@$(NODE) scripts/test.ts k8s

bench: build
	@$(NODE) scripts/root.ts 'make bench'
	@$(NODE) bench/run.ts $(WHAT)

build: deps dist/tartan

image: build
	@deploy/image/build.sh $(ARCH)

release: build
	@$(NODE) scripts/release.ts $(ARCH)

dist/tartan: $(SOURCES)
	@$(NODE) scripts/build.ts

deps:
	@scripts/deps.sh

docs: deps
	@$(NODE) scripts/docs.ts

format: deps
	@node_modules/.bin/oxfmt

clean:
	rm -rf dist
