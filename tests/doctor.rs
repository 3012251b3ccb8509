//! What `--doctor` says of a host, held against what a trace does there. Where the kernel or a security module refuses, both say why, and what to
//! do.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nsntrace_testkit::{Finished, Lab, Plan, Residue, nsntrace};

/// Whom nsntrace runs as, and in what: a command line before its own.
const ROOT: &str = "";
const USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";
/// An ordinary user of a user namespace of its own, whose limits are the script's before `exec`.
const USER_OF_A_NAMESPACE: &str = "unshare --user --map-user=65534 --map-group=65534 --keep-caps --mount sh -ec 'echo 0 >/proc/sys/user/LIMIT; \
     exec setpriv --ambient-caps=-all --inh-caps=-all \"$@\"' sh";

/// A lab whose files everybody may read and write, with nsntrace among them.
fn lab(plan: &Plan) -> Lab {
    let lab = Lab::new(plan);
    for (from, to) in
        [(nsntrace(), "nsntrace"), (&Path::new(env!("CARGO_MANIFEST_DIR")).join("seccomp.py"), "seccomp.py")]
    {
        lab.dir.copy_program(from, to);
    }
    fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    lab
}

/// `WRAPPER ./nsntrace ARGUMENTS` on the host.
fn run(lab: &Lab, wrapper: &str, arguments: &str) -> Finished {
    lab.host.try_sh(&format!("cd {}; umask 0; {wrapper} ./nsntrace {arguments}", lab.dir.path().display()))
}

/// What the doctor says: for people, and in the file `doctor.json`.
struct Opinion<'a> {
    lab: &'a Lab,
    wrapper: &'a str,
    text: String,
}

impl<'a> Opinion<'a> {
    /// Asks twice, insists on the transport that would be taken and on the status, and that nothing was changed.
    #[track_caller]
    fn ask(lab: &'a Lab, wrapper: &'a str, auto: Option<&str>) -> Self {
        let before = Residue::of(&lab.host);
        let status = if auto.is_some() { 0 } else { 125 };
        let finished = run(lab, wrapper, "--doctor").ended_with(status);
        assert_eq!(finished.stderr, "");
        let text = finished.text();
        let choice = auto.map_or("--net auto   has nothing to take".to_owned(), |name| {
            format!("--net auto   takes {name}\n")
        });
        assert!(text.contains(&choice), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100 && line == line.trim_end()), "{text}");
        run(lab, wrapper, "--doctor=json >doctor.json").ended_with(status);
        before.assert_same(&lab.host);
        let opinion = Self { lab, wrapper, text };
        opinion.demand(&format!(".auto == {}", auto.map_or("null".to_owned(), |name| format!("\"{name}\""))));
        opinion
    }

    /// Insists on a filter of jq being true of the JSON.
    #[track_caller]
    fn demand(&self, filter: &str) {
        let script = format!(
            "jq -e '{filter}' <{0} || (jq -c .[] <{0} >&2; false)",
            self.lab.dir.join("doctor.json").display()
        );
        self.lab.host.sh(&script);
    }

    /// Insists on a check having come to this, in both reports.
    #[track_caller]
    fn found(&self, name: &str, result: &str, words: &str) {
        let shown = if result == "untried" { "not tried" } else { result };
        let title = self.title(name);
        let row = self.row(&title);
        assert!(
            row.starts_with(&format!("{title} {shown}")) && row.contains(words),
            "{words:?} is not in: {row}"
        );
        self.demand(&format!(".checks[] | select(.name == \"{name}\") | .result == \"{result}\""));
    }

    /// All that is said of a check, on one line.
    fn row(&self, title: &str) -> String {
        let mut lines = self.text.lines().skip_while(|line| !line.starts_with(&format!("  {title} ")));
        let first = lines.next().unwrap_or_else(|| panic!("no '{title}' in:\n{}", self.text));
        let others = lines.take_while(|line| line.starts_with("    "));
        let words: Vec<_> = std::iter::once(first).chain(others).flat_map(str::split_whitespace).collect();
        words.join(" ")
    }

    fn title(&self, name: &str) -> String {
        let file = self.lab.dir.join("doctor.json");
        let filter = format!(".checks[] | select(.name == \"{name}\") | .title");
        self.lab.host.sh(&format!("jq -er '{filter}' <{}", file.display())).trim().to_owned()
    }

    /// Insists on a trace going by this transport.
    #[track_caller]
    fn comes_true(&self, transport: &str) {
        let before = Residue::of(&self.lab.host);
        let finished = run(self.lab, self.wrapper, "-o trace.pcap true").succeeded();
        let is_proxied = finished.stderr.contains("passed on by a proxy");
        assert_eq!(is_proxied, transport == "proxy", "{}", finished.stderr);
        self.lab.host.sh(&format!("rm {}", self.lab.dir.join("trace.pcap").display()));
        // Behind the prompt; whoever looks next is to see nothing of it.
        before.assert_same(&self.lab.host);
    }

    /// Insists on a trace failing with one line and a hint, the same that are in the report.
    #[track_caller]
    fn comes_true_as(&self, name: &str, error: &str, hint: &str) {
        let finished = run(self.lab, self.wrapper, "-o trace.pcap true").ended_with(125);
        assert_eq!(finished.stderr, format!("nsntrace: {error}\nhint: {hint}\n"));
        assert!(!self.lab.dir.join("trace.pcap").exists(), "no trace, no file");
        self.demand(&format!(
            ".checks[] | select(.name == \"{name}\") | .result == \"missing\" and .error == {error:?} and .hint == {hint:?}"
        ));
    }
}

#[test]
fn smoke_root_has_everything() {
    let lab = lab(&Plan { ip_forward: true, ipv6_forwarding: true, ..Plan::default() });
    let opinion = Opinion::ask(&lab, ROOT, Some("nat"));
    opinion.demand(".transports == {nat: {works: true, missing: []}, proxy: {works: true, missing: []}}");
    opinion.demand("[.checks[] | select(.result == \"missing\")] == []");
    opinion.found("capabilities", "ok", "CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW");
    opinion.found("user-namespace", "untried", "since the capabilities are there without one");
    opinion.found("route-ipv4", "ok", "by up0");
    opinion.found("name-servers", "ok", "198.51.100.2");
    opinion.found("forwarding-ipv4", "ok", "on");
    opinion.found("packet-ring", "ok", "16 MiB");
    opinion.comes_true("nat");
}

/// Word for word what docs/doctor.md promises of every report.
#[test]
fn the_schema_is_the_documented_one() {
    let lab = lab(&Plan::default());
    for (wrapper, auto) in [(ROOT, Some("nat")), (USER, Some("proxy"))] {
        let opinion = Opinion::ask(&lab, wrapper, auto);
        opinion.demand(".schema == \"nsntrace-doctor\" and .version == 1");
        opinion.demand(
            ".subject | (.uid, .gid | type == \"number\") and (.kernel, .machine | type == \"string\")",
        );
        opinion.demand(
            "def text: type == \"string\" and . != \"\"; def maybe: . == null or text;
             [.checks[] | (.name, .title | text) and (
                 (.result == \"ok\" and (.detail | maybe) and (keys | length) == 4) or
                 (.result == \"missing\" and (.error, .consequence | text) and (.hint | maybe) and (.lost - [\"nat\", \"proxy\"] == [])
                     and (keys | length) == 7) or
                 (.result == \"untried\" and (.since | text) and (keys | length) == 4))] | all",
        );
        opinion.demand(".transports | keys == [\"nat\", \"proxy\"]");
        // By another reader, too.
        let file = lab.dir.join("doctor.json");
        lab.host.sh(&format!("/usr/bin/python3 -m json.tool {} >/dev/null", file.display()));
        let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/doctor.md"))
            .expect("it is there");
        let names = lab.host.sh(&format!("jq -r '.checks[].name' <{}", file.display()));
        let missing: Vec<_> =
            names.lines().filter(|name| !documented.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "{missing:?} are not in docs/doctor.md");
    }
}

#[test]
fn smoke_an_ordinary_user_has_the_proxy() {
    let lab = lab(&Plan::default());
    let opinion = Opinion::ask(&lab, USER, Some("proxy"));
    opinion.demand(".transports == {nat: {works: false, missing: [\"capabilities\"]}, proxy: {works: true, missing: []}}");
    opinion.found("capabilities", "missing", "hint: run nsntrace as root");
    opinion.found("user-namespace", "ok", "");
    opinion.found("forwarding-ipv4", "untried", "since it is for NAT alone");
    opinion.found("tproxy", "ok", "");
    opinion.comes_true("proxy");
}

#[test]
fn limits_of_zero_are_named() {
    let lab = lab(&Plan::default());
    let wrapper = USER_OF_A_NAMESPACE.replace("LIMIT", "max_user_namespaces");
    Opinion::ask(&lab, &wrapper, None).comes_true_as(
        "user-namespace",
        "cannot make a user namespace, since user.max_user_namespaces is 0: No space left on device (os error 28)",
        "run nsntrace as root, or let root allow some: sysctl user.max_user_namespaces=10000",
    );
    let wrapper = USER_OF_A_NAMESPACE.replace("LIMIT", "max_net_namespaces");
    Opinion::ask(&lab, &wrapper, None).comes_true_as(
        "network-namespace",
        "cannot make a network namespace: No space left on device (os error 28)",
        "`sysctl user.max_net_namespaces` says how many there may be; each trace needs one",
    );
    // Only where there is something to hide from the program.
    let wrapper = USER_OF_A_NAMESPACE.replace("LIMIT", "max_mnt_namespaces");
    let opinion = Opinion::ask(&lab, &wrapper, Some("proxy"));
    opinion.found("mount-namespace", "missing", "so: --use-public-dns does not work");
    opinion.comes_true("proxy");
    lab.host.sh("mkdir /run/nscd");
    Opinion::ask(&lab, &wrapper, None).comes_true_as(
        "mount-namespace",
        "cannot make a mount namespace: No space left on device (os error 28)",
        "`sysctl user.max_mnt_namespaces` says how many there may be",
    );
}

/// Capabilities count where they are from.
#[test]
fn root_of_a_user_namespace_has_nat_in_its_own_network_alone() {
    let lab = lab(&Plan::default());
    let opinion = Opinion::ask(&lab, "unshare --user --map-root-user", Some("proxy"));
    opinion.found("capabilities", "ok", "CAP_SYS_ADMIN");
    opinion.found("host-network", "missing", "it belongs to another user namespace");
    opinion.comes_true("proxy");
    let opinion = Opinion::ask(&lab, "unshare --user --map-root-user --net", Some("nat"));
    opinion.found("route-ipv4", "missing", "there is none");
    opinion.comes_true("nat");
}

/// Root of a container as Docker makes it: a few capabilities, and a filter for those that lack the others.
#[test]
fn root_of_a_container_is_told_what_it_takes() {
    let lab = lab(&Plan::default());
    let capabilities =
        "-all,+chown,+dac_override,+fowner,+kill,+setgid,+setuid,+setpcap,+net_raw,+sys_chroot,+setfcap";
    let wrapper =
        format!("setpriv --bounding-set {capabilities} /usr/bin/python3 ./seccomp.py refuse-user-namespaces");
    let opinion = Opinion::ask(&lab, &wrapper, None);
    opinion.found(
        "capabilities",
        "missing",
        "without CAP_SYS_ADMIN, CAP_NET_ADMIN so: there is no trace by NAT",
    );
    opinion.found("capabilities", "missing", "in a container, --cap-add SYS_ADMIN --cap-add NET_ADMIN");
    opinion.comes_true_as(
        "user-namespace",
        "cannot make a user namespace, since a seccomp filter forbids it: Operation not permitted (os error 1)",
        "run nsntrace outside of the container, or give the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, or a seccomp \
         profile that allows unshare(2)",
    );
}

#[test]
fn a_machine_without_procfs_is_told_to_have_one() {
    let lab = lab(&Plan::default());
    let wrapper = "unshare --mount sh -ec 'mount -t tmpfs none /proc; exec \"$@\"' sh";
    Opinion::ask(&lab, wrapper, None).comes_true_as(
        "network-namespace",
        "cannot open /proc/thread-self/ns/net: No such file or directory (os error 2)",
        "nsntrace needs procfs, that of its own pid namespace: mount -t proc proc /proc",
    );
}

#[test]
fn a_seccomp_filter_is_named() {
    let lab = lab(&Plan::default());
    let filtered = |rule| format!("{USER} /usr/bin/python3 ./seccomp.py {rule}");
    let wrapper = filtered("refuse-user-namespaces");
    Opinion::ask(&lab, &wrapper, None).comes_true_as(
        "user-namespace",
        "cannot make a user namespace, since a seccomp filter forbids it: Operation not permitted (os error 1)",
        "run nsntrace outside of the container, or give the container CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, or a seccomp \
         profile that allows unshare(2)",
    );
    let wrapper = filtered("kill-for-user-namespaces");
    let opinion = Opinion::ask(&lab, &wrapper, None);
    opinion.found("user-namespace", "missing", "a seccomp filter kills whoever tries (SIGSYS)");
    opinion.found("veth", "untried", "since the process that tries has ended");
    // Front itself, in an ordinary run.
    run(&lab, &wrapper, "true").ended_with(128 + 31);
}

#[test]
fn what_a_user_namespace_is_not_for_is_named() {
    let lab = lab(&Plan::default());
    Opinion::ask(&lab, "unshare --user", None).comes_true_as(
        "user-namespace",
        "cannot make a user namespace, since the user is not mapped in the user namespace that it is in: Operation not permitted \
         (os error 1)",
        "run nsntrace outside of that user namespace, or map the user into it (unshare --map-current-user, podman --userns=keep-id)",
    );
    let chroot =
        "mkdir -p root/usr root/proc root/work; for n in bin lib lib64; do ln -sf usr/$n root/$n; done;
        for n in usr proc; do mount --rbind /$n root/$n; done; mount --bind . root/work";
    lab.host.sh(&format!("cd {}; {chroot}", lab.dir.path().display()));
    let wrapper = "chroot --userspec=65534:65534 root env --chdir=/work";
    Opinion::ask(&lab, wrapper, None).comes_true_as(
        "user-namespace",
        "cannot make a user namespace, since a process in a chroot may not have one: Operation not permitted (os error 1)",
        "run nsntrace as root, or outside of the chroot",
    );
    lab.host.sh(&format!("cd {}; umount -l root/work root/proc root/usr", lab.dir.path().display()));
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let lab = lab(&Plan::default());
    let wrapper = "/usr/bin/python3 ./seccomp.py no-netfilter";
    let opinion = Opinion::ask(&lab, wrapper, None);
    opinion.found("nf-tables", "missing", "it lacks CONFIG_NETFILTER_NETLINK (module nfnetlink)");
    opinion.found("masquerading", "untried", "since there are no nf_tables");
    opinion.demand(
        ".transports.nat.missing == [\"nf-tables\"] and .transports.proxy.missing == [\"nf-tables\"]",
    );
    let finished = run(&lab, wrapper, "-o trace.pcap true").ended_with(125);
    assert!(finished.stderr.contains("it lacks CONFIG_NETFILTER_NETLINK"), "{}", finished.stderr);
    let wrapper = format!("{USER} /usr/bin/python3 ./seccomp.py no-packet-sockets");
    let opinion = Opinion::ask(&lab, &wrapper, None);
    opinion.found("packet-ring", "untried", "since there is no packet socket");
    opinion.comes_true_as(
        "packet-socket",
        "cannot open a packet socket: Address family not supported by protocol (os error 97)",
        "this kernel lacks CONFIG_PACKET (module af_packet)",
    );
}

/// As in most containers. What must be written for NAT need not be for the proxy.
#[test]
fn read_only_settings_leave_the_proxy() {
    let v4 = lab(&Plan { ipv6: false, ..Plan::default() });
    let wrapper = "unshare --mount sh -ec 'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec \"$@\"' sh";
    let opinion = Opinion::ask(&v4, wrapper, Some("proxy"));
    opinion.found("settings", "missing", "Read-only file system");
    opinion.comes_true("proxy");
    v4.host.write("/proc/sys/net/ipv4/ip_forward", "1");
    let opinion = Opinion::ask(&v4, wrapper, Some("nat"));
    opinion.found("settings", "missing", "so: what is set there is right");
    opinion.comes_true("nat");
    // IPv6 takes more than that of a router, too.
    let both = lab(&Plan { ip_forward: true, ipv6_forwarding: true, ..Plan::default() });
    Opinion::ask(&both, wrapper, Some("proxy")).comes_true("proxy");
}

#[test]
fn a_read_only_run_leaves_the_proxy() {
    let lab = lab(&Plan::default());
    let wrapper =
        "unshare --mount sh -ec 'mount --bind /run /run; mount -o remount,bind,ro /run; exec \"$@\"' sh";
    let opinion = Opinion::ask(&lab, wrapper, Some("proxy"));
    opinion.found(
        "run-directory",
        "missing",
        "cannot write to /run: Read-only file system so: there is no trace by NAT",
    );
    opinion.comes_true("proxy");
}

#[test]
fn the_hosts_own_lacks_are_told_and_forbid_nothing() {
    let mut lab = lab(&Plan { ipv6: false, resolv_conf: "nameserver 127.0.0.1\n".into(), ..Plan::default() });
    lab.host.write("/proc/sys/net/ipv4/ping_group_range", "1 0");
    lab.host.sh("ip route delete default");
    let opinion = Opinion::ask(&lab, ROOT, Some("nat"));
    opinion.found("route-ipv4", "missing", "so: over IPv4 a program reaches the host's own networks alone");
    opinion.found("route-ipv6", "missing", "so: a program has no IPv6");
    opinion.found("name-servers", "missing", "nobody listens at 127.0.0.1");
    opinion.found("ping-sockets", "missing", "sysctl net.ipv4.ping_group_range=");
    opinion.comes_true("nat");
    lab.serve_dns_on_host("127.0.0.1");
    fs::write(lab.dir.join("resolv.conf"), "nameserver 127.0.0.1\nnameserver 203.0.113.7\n")
        .expect("our directory");
    let words = "127.0.0.1 by relay, 203.0.113.7 cannot be reached (network is unreachable)";
    Opinion::ask(&lab, USER, Some("proxy")).found("name-servers", "ok", words);
}
