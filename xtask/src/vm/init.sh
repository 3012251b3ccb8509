#!/bin/busybox sh
# The life of the guest: a host with an uplink, traces, and what they hold on the console. Where it fails, init ends, and with it the guest.
set -e

RUNS=@RUNS@
SERVER=198.51.100.1

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# The console is for results.
echo 1 >/proc/sys/kernel/printk

say() {
    echo "vm-test: $*, up $(cut -d ' ' -f 1 /proc/uptime) s"
}

# Traces "$2..." as "$1", and notes how it ended.
trace() {
    name=$1
    shift
    status=0
    nsntrace -o "/results/$name.pcap" "$@" >"/results/$name.out" 2>"/results/$name.err" || status=$?
    echo "$name $status" >>/results/status
}

# A server in a namespace of its own, at the far end of a veth.
make_uplink() {
    unshare -n sleep 1000000 &
    server=$!
    until [ "$(readlink /proc/$server/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
    # The kernel names the other end: veth0.
    ip link add uplink type veth
    ip link set veth0 netns $server
    ip addr add 198.51.100.2/24 dev uplink
    ip link set uplink up
    ip route add default via $SERVER
    echo 'hello from the server' >/www/index.html
    nsenter -t $server -n sh -c "ip addr add $SERVER/24 dev veth0; ip link set veth0 up; httpd -h /www"
    until wget -q -O /dev/null "http://$SERVER/"; do :; done
}

# Moves modules out of sight, and one back: a kernel that was built without them.
hide() {
    for name in "$@"; do
        find /lib/modules -name "$name.ko*" -exec mv {} {}.hidden ';'
    done
}
show() {
    hidden=$(find /lib/modules -name "$1.ko*.hidden")
    mv "$hidden" "${hidden%.hidden}"
}

# What is said where the kernel lacks hidden modules, in the order in which they are needed: each while later ones are not there either.
lack_modules() {
    for name in "$@"; do
        # One that is in the kernel itself cannot be lacking.
        [ -n "$(find /lib/modules -name "$name.ko*.hidden")" ] || continue
        lack "$name" --net nat
        show "$name"
    done
}
lack() {
    status=0
    nsntrace "$2" "$3" -o /tmp/lack.pcap true 2>"/results/lack-$1.err" || status=$?
    echo "$1 $status" >>/results/lacks
}

say "Linux $(uname -r) on $(uname -m)"

hide veth nfnetlink nf_tables nft_chain_nat nft_masq nft_ct nf_conntrack_netlink tcp_diag nft_counter
nsntrace --doctor=json >/results/doctor-lacks.json 2>/results/doctor-lacks.err || :
lack_modules veth nfnetlink nf_tables nft_chain_nat nft_masq nft_ct nf_conntrack_netlink tcp_diag
# Its module is not in this image.
lack nft_tproxy --net proxy
say "lacked modules"

# An ordinary user, where root alone may make user namespaces: a setting that Debian's kernels have.
echo 0 >/proc/sys/kernel/unprivileged_userns_clone
status=0
mkdir /etc
echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd
start-stop-daemon -S -c nobody:65534 -x /bin/nsntrace -- -o - true >/results/refused.out 2>/results/refused.err || status=$?
rm -r /etc
echo $status >/results/refused
echo 1 >/proc/sys/kernel/unprivileged_userns_clone
say "refused a user namespace"

# There is no route, there is no /etc.
trace bare true
say "traced a program without a network"

make_uplink
# Packets are counted where there is a way out.
lack_modules nft_counter
# Without the modules nfnetlink_queue and nft_tproxy: modules.rs.
nsntrace --doctor=json >/results/doctor.json 2>/results/doctor.err || :
say "examined"
trace http wget -q -O - "http://$SERVER/"
say "traced wget"

run=0
while [ $run -lt $RUNS ]; do
    trace burst-$run burst $SERVER $run
    run=$((run + 1))
done
say "traced $RUNS bursts"

echo '-- begin results'
tar -c -z -C /results . | base64
echo '-- end results'
reboot -f
