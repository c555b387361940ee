# Sourced by a job, as process 1 on the host's root: makes a usual Linux of it. `run COMMAND…` then ends the machine.
# In: MODULES_ROOT (the cached kernel), MODULES (to load besides those that load themselves).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
TARTAN_VM=$(uname -r)
export TARTAN_VM

mount -t tmpfs run /run
mkdir -p /run/netns /run/lock /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /lib/modules
[ -e "/lib/modules/$TARTAN_VM" ] || ln -s "$MODULES_ROOT/lib/modules/$TARTAN_VM" "/lib/modules/$TARTAN_VM"
ip link set lo up
# Saves each later process of Node from stripping types and compiling what an earlier one did.
export NODE_COMPILE_CACHE=/run/compiled
# shellcheck disable=SC2086 # one word per module
[ -z "$MODULES" ] || modprobe -a $MODULES

# The first port carries what the command says, the second its exit code (machine.ts).
run() {
  "$@" </dev/null >"$(echo /dev/vport*p1)" 2>&1
  echo $? >"$(echo /dev/vport*p2)"
  /bin/busybox reboot -f
}
