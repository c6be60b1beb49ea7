/**
 * The command line as a user meets it: what is printed where, and the exit codes. Nothing here needs a privilege
 * or a network namespace, and nothing of the host is touched.
 */
import { assert, assertEquals, assertLess, assertMatch, assertStringIncludes } from "../assert.ts";

const MAIN = new URL("../../mod.ts", import.meta.url);

/** A run that needs no capability: a plain listener. */
const UNPRIVILEGED = ["--tcp", "redirect", "--udp", "off", "--rules", "none"];

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function pellucid(...args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN.href, ...args],
    // From anywhere: nothing may depend on the current directory.
    cwd: "/",
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(20_000),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function assertNoStack(text: string): void {
  assert(!/^\s+at /m.test(text), text);
}

Deno.test("help: on stdout, exit 0, in each spelling", async () => {
  const [word, flag, short] = await Promise.all([pellucid("help"), pellucid("--help"), pellucid("-h")]);
  assertEquals([word.code, word.stderr], [0, ""]);
  assertStringIncludes(word.stdout, "usage: pellucid COMMAND [FLAGS]");
  assertEquals([flag, short], [word, word]);
});

Deno.test("help of a command: both ways alike, and whatever else is said", async () => {
  const [word, flag] = await Promise.all([pellucid("help", "run"), pellucid("run", "--help", "--bogus")]);
  assertEquals([word.code, word.stderr], [0, ""]);
  assertStringIncludes(word.stdout, "--max-connections-per-client N");
  assertEquals(flag, word);
});

Deno.test("help of a word that several commands begin with: those commands", async () => {
  const { code, stdout, stderr } = await pellucid("help", "rules");
  assertEquals([code, stderr], [0, ""]);
  const named = [...stdout.matchAll(/^ {2}([a-z]+ [a-z]+) {2}/gm)].map(([, name]) => name);
  assertEquals(named, ["rules render", "rules apply", "rules verify", "rules counters", "rules cleanup"]);
});

Deno.test("no command: help on stderr, exit 2", async () => {
  const { code, stdout, stderr } = await pellucid();
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, "usage: pellucid COMMAND");
});

Deno.test("version: ours, Deno's, the kernel's", async () => {
  const { code, stdout, stderr } = await pellucid("version");
  assertEquals([code, stderr], [0, ""]);
  assertMatch(
    stdout,
    /^pellucid \d+\.\d+\.\d+ \(source\), Deno \d+\.\d+\.\d+, linux \S+ (x86_64|aarch64)\n$/,
  );
});

Deno.test("an unknown command: what was meant, exit 2", async () => {
  const { code, stdout, stderr } = await pellucid("rnu", "--local");
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, "rnu found");
  assertStringIncludes(stderr, "did you mean `pellucid run`?");
  assertNoStack(stderr);
});

Deno.test("every problem with the flags at once, exit 2", async () => {
  const { code, stdout, stderr } = await pellucid(
    "run",
    "--prot",
    "1",
    "--port",
    "70000",
    "--workers",
    "0",
    "--tcp",
    "nat",
  );
  assertEquals([code, stdout], [2, ""]);
  assertEquals(stderr.split("\n"), [
    "pellucid run: --prot: an unknown flag found, one that --help lists wanted; did you mean --port?",
    "pellucid run: --tcp: nat found, tproxy, redirect or off wanted",
    "pellucid run: --from, --local, --sidecar: none of them found, at least one wanted; --from IFACE intercepts " +
    "what is forwarded from an interface, --local what this host opens itself, --sidecar one pod; " +
    "with --rules none the rules are yours",
    "pellucid run: --port: 70000 found, a whole number from 1 to 65535 wanted",
    "pellucid run: --workers: 0 found, a whole number from 1 to 256 wanted",
    "`pellucid run --help` shows what can be said.",
    "",
  ]);
});

Deno.test("with --log json problems are events, one object a line", async () => {
  const { code, stdout, stderr } = await pellucid("run", "--log", "json", "--port", "0", "--from", "lo");
  assertEquals([code, stdout], [2, ""]);
  const events = stderr.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(events.map(({ level, event, code }) => [level, event, code]), [
    ["error", "error", "config"],
    ["error", "error", "config"],
  ]);
  assertStringIncludes(events[0].message, "--from: lo found");
  assertStringIncludes(events[1].message, "--port: 0 found");
  assertMatch(events[0].time, /^\d{4}-\d\d-\d\dT.*Z$/);
});

Deno.test("contradictory flags are refused", async () => {
  const cases: [string[], string][] = [
    [["--tcp", "off", "--udp", "off", "--local"], "--tcp, --udp: off and off found"],
    [["--rules", "none", "--dry-run"], "--dry-run: nothing to intercept found"],
    [["--from", "eth1", "--from", "eth1"], "--from: eth1 twice found"],
    [["--port", "1", "--port", "2", "--local"], "--port: 1 and 2 found"],
    [["eth1", "--local"], 'arguments: "eth1" found, flags only wanted'],
    [["--local", "--inbound", "tproxy"], "--inbound: set found, --sidecar with it wanted"],
    [["--sidecar", "--capture-dns", "all"], "--capture-dns, --dns: queries taken, and no resolver found"],
    [["--from", "eth1", "--include-uid", "0"], "--include-uid: set, and neither --local nor --sidecar found"],
    [
      ["--local", "--dry-run", "--exclude-cidr-file", "/nowhere/list"],
      "--exclude-cidr-file: /nowhere/list: No such",
    ],
    [["--local", "--include-gid", "no such"], "--include-gid: no such found, a group's name"],
    [["--sidecar", "--tcp", "off", "--include-uid", "0"], "--include-uid: set, and --tcp off found"],
  ];
  for (const [args, wanted] of cases) {
    const { code, stderr } = await pellucid("run", ...args);
    assertEquals(code, 2, args.join(" "));
    assertStringIncludes(stderr, wanted);
  }
});

Deno.test("other commands: what would be ignored is refused, and in the order in which it is said", async () => {
  const packet = ["explain", "192.0.2.1", "192.0.2.2:443", "tcp", "--local"];
  const cases: [string[], string][] = [
    [
      ["explain"],
      "pellucid explain: arguments: nothing found, SRC[:PORT] DST:PORT tcp|udp, or SRC DST icmp wanted",
    ],
    [
      ["explain", "127.0.0.1", "192.0.2.2:443", "tcp", "--from", "eth9", "--in", "eth9"],
      "SRC, --in: 127.0.0.1, an address of this host, and eth9 found",
    ],
    [[...packet, "--in", "nosuch0"], "--in: nosuch0 found, an interface of this network namespace (it has "],
    [
      [...packet, "--out", "nosuch0"],
      "--out: nosuch0 found, an interface of this network namespace (it has ",
    ],
    [
      ["rules", "render", "--local", "--format", "iptables", "--rules", "nft"],
      "--format, --rules: iptables and nft found, one tool wanted",
    ],
    [["doctor", "--include-mac", "02:00:5e:10:00:01", "--tcp", "nat"], "pellucid doctor: --tcp: nat found"],
  ];
  for (const [args, first] of cases) {
    const { code, stderr } = await pellucid(...args);
    assertEquals(code, 2, args.join(" "));
    assertStringIncludes(stderr.split("\n")[0]!, first);
    assert(!stderr.includes("--rules none") && !stderr.includes("--include-mac"), stderr);
  }
});

Deno.test("explain: an interface to come may be meant, if the flags name it", async () => {
  const packet = ["explain", "192.0.2.1", "192.0.2.2:443", "tcp"];
  const { code, stdout } = await pellucid(...packet, "--in", "nosuch0", "--from", "nosuch0");
  assertEquals(code, 0);
  assertStringIncludes(stdout, "coming in by nosuch0");
});

Deno.test("run --dry-run: rules, routes and their undo, nothing else", async () => {
  const { code, stdout, stderr } = await pellucid(
    "run",
    "--from",
    "eth9",
    "--local",
    "--dry-run",
    "--port",
    "7999",
    "--rules",
    "nft",
  );
  assertEquals([code, stderr], [0, ""]);
  assertStringIncludes(stdout, "tproxy to :7999");
  assertStringIncludes(stdout, "\nip -6 rule add fwmark 0x1000000/0x3000000 iif eth9 lookup 7873");
  assertStringIncludes(stdout, "\nip -6 rule del fwmark 0x1000000/0x3000000 iif eth9 lookup 7873");
  assertStringIncludes(stdout, "nft delete table inet pellucid");
});

Deno.test("rules render is what run --rules none prints", async () => {
  const args = ["--tcp", "redirect", "--from", "eth9"];
  const [rendered, run] = await Promise.all([
    pellucid("rules", "render", ...args),
    pellucid("run", ...args, "--rules", "none", "--dry-run"),
  ]);
  assertEquals([rendered.code, rendered.stderr], [0, ""]);
  assertStringIncludes(rendered.stdout, "redirect to :7870");
  assert(!rendered.stdout.includes("flags owner"), "a table that stays");
  assertEquals(run.stdout.replace(/^#.*\n/, ""), rendered.stdout);
});

Deno.test("an interface that is not there: named on stderr, exit 1, no stack unless asked for", async () => {
  // Without rules, with redirect and without UDP: the one way that needs no privilege up to this point.
  const args = ["run", ...UNPRIVILEGED, "--from", "nosuch0"];
  const [plain, debug] = await Promise.all([pellucid(...args), pellucid(...args, "--log-level", "debug")]);
  assertEquals([plain.code, debug.code], [1, 1]);
  assertStringIncludes(plain.stderr, "pellucid run: --from: nosuch0 found");
  assertStringIncludes(plain.stderr, "`ip link` lists the interfaces");
  assertNoStack(plain.stderr);
  assertMatch(debug.stderr, /^\s+at /m);
});

Deno.test("a port that is taken: named, with how to find its holder", async () => {
  using taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = taken.addr;
  const { code, stderr } = await pellucid("run", ...UNPRIVILEGED, "--port", `${port}`);
  assertEquals(code, 1);
  assertStringIncludes(stderr, `port ${port}: taken by another program`);
  assertStringIncludes(stderr, `ss -ltnp 'sport = :${port}'`);
  assertNoStack(stderr);
});

Deno.test("without CAP_NET_ADMIN: what is missing, and what works all the same", async () => {
  if (isPrivileged()) return;
  const { code, stderr } = await pellucid("run", "--local");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "CAP_NET_ADMIN missing");
  assertStringIncludes(stderr, "pellucid demo");
  assertStringIncludes(stderr, "unshare -Urn");
  assertNoStack(stderr);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`a run without privileges: ready, ${signal}, stopped, exit 0`, async () => {
    using free = Deno.listen({ port: 0 });
    const { port } = free.addr;
    free.close();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        MAIN.href,
        "run",
        ...UNPRIVILEGED,
        "--port",
        `${port}`,
        "--log",
        "json",
      ],
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(20_000),
    }).spawn();
    const events: { event: string; startMs?: number; listeners?: string[] }[] = [];
    let rest = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const event = JSON.parse(line);
        events.push(event);
        if (event.event === "ready") child.kill(signal);
      }
    }
    assertEquals([await child.status.then(({ code }) => code), rest], [0, ""]);
    assertEquals(events.map(({ event }) => event), ["ready", "draining", "stopped"]);
    assert(events[0]!.listeners?.some((listener) => listener.endsWith(`:${port}`)));
    assertLess(events[0]!.startMs!, 5000);
  });
}

function isPrivileged(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))![1]!;
  return (BigInt(`0x${effective}`) >> 12n & 1n) === 1n;
}
