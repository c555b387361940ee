.PHONY: test
test: node_modules/.stamp
	npm run test:unit

node_modules/.stamp: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	touch $@
