/**
 * The table of commands. A new command is one entry here and one file beside it.
 *
 * @module
 */
import { type Command, command } from "./command.ts";
import { checkDoctor, DOCTOR_FLAGS } from "./doctor_flags.ts";
import { checkExplain, EXPLAIN_FLAGS } from "./explain_flags.ts";
import { checkInterceptionFlags, INTERCEPTION_FLAGS } from "./interception_flags.ts";
import { checkRender, CLEANUP_FLAGS, COUNTERS_FLAGS, RENDER_FLAGS } from "./rules_flags.ts";
import { RELOAD_FLAGS } from "./reload_flags.ts";
import { checkRun, RUN_FLAGS } from "./run_flags.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  command({
    name: "run",
    summary: "intercept TCP and UDP and carry them, until a signal ends it",
    about: [
      "Puts listeners, routes and rules in place and carries what they intercept. SIGTERM or SIGINT takes the " +
      "rules away first, then carries open connections and UDP sessions to their end or to the drain timeout; a " +
      "second signal ends them at once.",
      "SIGHUP, like `reload`, reads the configuration file, lists and secrets again, for new flows; live ones carry on.",
      "The rules go with the process, however that ends; with --on-proxy-down closed they stay, and drop what they " +
      "would have taken. A list in a file that changes, or an interface that comes and goes, changes them while it runs.",
    ],
    flags: RUN_FLAGS,
    examples: [
      ["--from eth1", "intercept what arrives from eth1, IPv4 and IPv6"],
      ["--local --flows", "intercept what this host itself sends and name each flow"],
      ["--tcp redirect --from eth1 --log json", "with NAT instead of TPROXY, and a log for programs"],
      ["--from eth1 --source keep", "servers see the clients' own addresses"],
      ["--from br-*,eth1 --udp off", "TCP alone, of containers on bridges that come and go too"],
      [
        "--local --exclude-cidr-file /etc/pellucid/direct.txt",
        "all but what goes to the addresses in a file",
      ],
      ["--local --include-uid www-data --tcp-ports 80,443", "the web traffic of one user"],
      ["--sidecar --inbound tproxy --source keep", "one pod; its programs see the clients' own addresses"],
      ["--local --dns 192.0.2.53 --dns [2001:db8::53]:5353", "DNS is answered by these resolvers"],
      ["--from eth1 --upstream socks5://192.0.2.10:1080", "all of it through a SOCKS5 server"],
      ["--config docs/examples/gateway.toml", "as the file says"],
      ["--from eth1 --dry-run", "show the rules and routes, touch nothing"],
    ],
    check: checkRun,
    load: async () => (await import("./run.ts")).run,
  }),
  command({
    name: "reload",
    summary: "have a running proxy read its configuration again, for new flows",
    about: [
      "Asks the proxy of this network namespace, which has to be this user's, to read its configuration file, lists, " +
      "names and secrets again. New flows then leave as they say; live ones carry on as they began. When anything is " +
      "wrong, nothing changes. Prints what has changed, or everything that is wrong, and exits with 0 or 1.",
      "Listeners, workers, limits and timeouts need a restart; it says so where one of them has changed.",
    ],
    flags: RELOAD_FLAGS,
    examples: [["", "after a change of the file"], ["--port 7890", "where several proxies run"]],
    load: async () => (await import("./reload.ts")).reload,
  }),
  command({
    name: "demo",
    summary: "watch traffic being taken over, in throw-away namespaces",
    about: [
      "Makes three hosts out of network namespaces (client, gateway, internet), runs the proxy in the gateway in " +
      "each of its modes, and sends TCP (curl, a bulk transfer) and UDP (dig, a game's query, large datagrams, a " +
      "stranger's) through it, over IPv4 and IPv6. For each it prints what the client dialled, the five-tuple the " +
      "proxy saw and what the server saw, and whether they agree.",
      "Needs no root where the kernel lets ordinary users make namespaces, and says what is missing where it " +
      "does not. Needs nft, ip, unshare, curl and dig. Takes some seconds; nothing of this machine is changed, and " +
      "nothing is left behind, also after Ctrl-C. Exits with 0 only if everything was right.",
    ],
    flags: {},
    examples: [["", "the first thing to try"]],
    load: async () => (await import("./demo.ts")).demo,
  }),
  command({
    name: "doctor",
    summary: "judge this host: what is in the way, what that breaks, the command that mends it",
    about: [
      "Tries what rules need of kernel and tools in a network namespace made for it, reads settings, limits, ports, " +
      "routing rules and other programs' rules, and judges them for a `run` with the same flags; without flags for " +
      "a gateway that may come. Ends with a self-test: our own proxy takes a connection and a datagram, in " +
      "namespaces. Changes nothing of the host.",
      "Exits with 1 if anything is an error. Without privilege, other programs' rules are not seen, and it says so.",
    ],
    flags: DOCTOR_FLAGS,
    examples: [
      ["--from eth1", "before the first run"],
      ["--from eth1 --json --no-self-test", "for a program that watches hosts"],
    ],
    check: checkDoctor,
    load: async () => (await import("./doctor.ts")).doctor,
  }),
  command({
    name: "config check",
    summary: "judge a configuration file, or say what it means",
    about: [
      "Reads the file as `run --config` would, without flags, and touches nothing. Each problem is named with file, line and " +
      "column, what was found and what is wanted. Files that it names and that are not here, and passwords that " +
      "others may read, are warnings. Exits with 2 when anything is wrong.",
    ],
    operands: "FILE",
    flags: {},
    examples: [["docs/examples/gateway.toml", "before a start or a reload"]],
    load: async () => (await import("./config.ts")).check,
  }),
  command({
    name: "config schema",
    summary: "print the JSON Schema of configuration files, for editors",
    about: [],
    flags: {},
    examples: [["", "redirected into a file, for the editor"]],
    load: async () => (await import("./config.ts")).schema,
  }),
  command({
    name: "rules render",
    summary: "print the rules and routes as a shell script, or as one tool's text",
    about: [
      "Prints what would have to be in the kernel for a `run --rules none` with the same flags; touches nothing. The " +
      "script puts it there, and takes it away when its argument is `undo`; each rule says why it is there.",
    ],
    flags: { ...INTERCEPTION_FLAGS, ...RENDER_FLAGS },
    examples: [
      ["--from eth1", "look at the rules for eth1"],
      ["--from eth1 --format iptables", "the same for iptables"],
    ],
    check: checkRender,
    load: async () => (await import("./rules.ts")).render,
  }),
  command({
    name: "rules apply",
    summary: "put rules and routes in place that stay after the command",
    about: [
      "For a `run --rules none` with the same flags. The rules stay until `rules cleanup`, and a second time changes " +
      "nothing. While no proxy listens, forwarded traffic goes on its way untouched with tproxy, and connections are " +
      "refused with redirect; with --on-proxy-down closed both are dropped.",
      "With --local and tproxy start the proxy first: without it this host's own new connections hang, and its " +
      "datagrams are lost.",
    ],
    flags: INTERCEPTION_FLAGS,
    examples: [
      ["--from eth1", "intercept what arrives from eth1"],
      ["--sidecar --proxy-uid 1337", "for a pod whose proxy runs as user 1337 and without capabilities"],
    ],
    check: checkInterceptionFlags,
    load: async () => (await import("./rules.ts")).apply,
  }),
  command({
    name: "rules verify",
    summary: "compare the kernel's rules and routes with what they should be",
    about: ["Exits with 0 when everything is in place; otherwise names what is not and exits with 1."],
    flags: INTERCEPTION_FLAGS,
    examples: [["--from eth1", "check what `rules apply --from eth1` put in place"]],
    check: checkInterceptionFlags,
    load: async () => (await import("./rules.ts")).verify,
  }),
  command({
    name: "rules counters",
    summary: "print how many packets and bytes each rule has met",
    about: ["Packets, bytes, chain and rule, of rules that are in place for the same flags."],
    flags: { ...INTERCEPTION_FLAGS, ...COUNTERS_FLAGS },
    examples: [["--from eth1", "what the rules for eth1 have met"]],
    check: checkInterceptionFlags,
    load: async () => (await import("./rules.ts")).counters,
  }),
  command({
    name: "rules cleanup",
    summary: "remove every rule and route of ours that is left",
    about: [
      "Needs neither configuration nor memory: what is ours is known by its table and protocol numbers. Has conntrack " +
      "forget UDP flows that were taken, where conntrack is installed.",
    ],
    flags: CLEANUP_FLAGS,
    examples: [
      ["", "after `rules apply`, or a crash"],
      ["--if-open", "what a service manager runs after each end of the proxy, whatever its flags"],
    ],
    load: async () => (await import("./rules.ts")).cleanUp,
  }),
  command({
    name: "explain",
    summary: "say which rule decides about a packet, and why",
    about: [
      "Follows one packet through the rules that the same flags make, and tells each step in words. It touches " +
      "nothing and asks this host for nothing but its interfaces and addresses. Exits with 0 whatever becomes of the packet.",
      "With a policy it then says which of its rules decides about the flow and where that goes, and which rules the kernel " +
      "knows; the servers' names are not resolved for that.",
      "With --live the rules are loaded in a throw-away namespace, that packet is sent there, and what the kernel did " +
      "is held against what was said; exits with 1 when they do not agree. Needs no root, but for packets of other " +
      "users (--uid, --gid).",
    ],
    operands: "SRC[:PORT] DST[:PORT] tcp|udp|icmp",
    flags: EXPLAIN_FLAGS,
    examples: [
      ["10.0.0.5:5555 192.0.2.1:443 tcp --in eth1 --from eth1", "a forwarded connection"],
      [
        "10.0.0.5 192.0.2.1:53 udp --out eth0 --uid 1000 --local",
        "a datagram that a user of this host sends",
      ],
      ["10.0.0.5 192.0.2.1:443 tcp --in eth1 --from eth1 --live", "the same, and what the kernel says"],
      [
        "10.0.0.5 192.0.2.1:443 tcp --in eth1 --config docs/examples/gateway.toml",
        "where a flow goes, and why",
      ],
    ],
    check: checkExplain,
    load: async () => (await import("./explain.ts")).explain,
  }),
  command({
    name: "version",
    summary: "print the version, the runtime's and the kernel's",
    about: [],
    flags: {},
    examples: [["", "for a report"]],
    load: async () => (await import("./version.ts")).version,
  }),
  command({
    name: "help",
    summary: "show this help, or that of one command",
    about: [],
    operands: "[COMMAND]",
    flags: {},
    examples: [["run", "every flag of run"], ["rules apply", "every flag of rules apply"]],
    load: async () => (await import("./help.ts")).help,
  }),
];

/** Commands that other commands start and nobody types: in no help, but found by name. */
export const INTERNAL_COMMANDS: readonly Command[] = [
  command({
    name: "explain sender",
    summary: "sends the packet of `explain --live`",
    about: [],
    flags: {},
    examples: [],
    load: async () => (await import("./explain.ts")).explainSender,
  }),
  command({
    name: "demo peer",
    summary: "one end of the demo's connections",
    about: [],
    operands: "[datagram-]server SPEC|[datagram-]client",
    flags: {},
    examples: [],
    load: async () => (await import("./demo.ts")).demoPeer,
  }),
];
