#!/bin/sh
# kcat. Argument: the bootstrap address. kcat can't create topics: kcat-NAME exist already.
at=$1
if [ -n "$CLIENT_USER" ]; then
	KCAT_CONFIG=$(mktemp)
	export KCAT_CONFIG
	trap 'rm -f "$KCAT_CONFIG"' EXIT
	cat >"$KCAT_CONFIG" <<END
security.protocol=SASL_SSL
ssl.ca.location=$CLIENT_CA
sasl.mechanism=SCRAM-SHA-256
sasl.username=$CLIENT_USER
sasl.password=$CLIENT_PASSWORD
END
fi

check() { # name, function
	if error=$($2 2>&1); then
		printf '%s\tok\n' "$1"
	else
		printf '%s\terror %s\n' "$1" "$(echo "$error" | tr '\n' ' ')"
	fi
}

values() { seq 1 60; }

# expect compares all records of a topic with standard input.
expect() {
	want=$(sort)
	have=$(kcat -b "$at" -C -q -e -X isolation.level=read_committed -t "$1" | sort)
	[ "$have" = "$want" ] || { echo "have $have, want $want"; return 1; }
}

produce() {
	echo 'k:v' | kcat -b "$at" -P -t kcat-produce -K: -H h=x &&
		have=$(kcat -b "$at" -C -q -e -t kcat-produce -f '%k %s %h') &&
		[ "$have" = 'k v h=x' ] || { echo "have $have"; return 1; }
}

idempotent() { values | kcat -b "$at" -P -t kcat-idempotent -X enable.idempotence=true && values | expect kcat-idempotent; }

compression() {
	for codec in gzip snappy lz4 zstd; do
		values | kcat -b "$at" -P -t kcat-compression -z $codec || return 1
	done
	(values; values; values; values) | expect kcat-compression
}

group() {
	values | kcat -b "$at" -P -t kcat-group &&
		n=$(timeout 20 kcat -b "$at" -G g-kcat -q -X auto.offset.reset=earliest -c 60 kcat-group | wc -l) &&
		[ "$n" = 60 ] || { echo "read $n records, want 60"; return 1; }
	echo more | kcat -b "$at" -P -t kcat-group &&
		have=$(timeout 20 kcat -b "$at" -G g-kcat -q -X auto.offset.reset=earliest -c 1 kcat-group) &&
		[ "$have" = more ] || { echo "read $have after a restart, want more"; return 1; }
}

administration() {
	kcat -b "$at" -L -t kcat-produce | grep -q 'topic "kcat-produce" with 3 partitions' &&
		kcat -b "$at" -Q -t kcat-group:0:-1 | grep -q 'kcat-group \[0\] offset'
}

check produce produce
check idempotent idempotent
check compression compression
check 'classic group' group
for name in 'KIP-848 group' transactions transform fencing; do
	printf '%s\tunsupported\n' "$name"
done
check administration administration
