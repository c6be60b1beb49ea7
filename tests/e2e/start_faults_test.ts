/**
 * Hosts on which `run` cannot start: each fault by its name, with a way out, exit code 1 and nothing left behind.
 *
 * Programs that are missing, or a kernel that lacks something, are played by a PATH of the test's own.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, kernelState, ProxyRun, type ProxyRunOptions } from "./proxy_run.ts";
import { ToolFolder, withoutProgram } from "./tool_folder.ts";

const FROM_LAN = ["--from", "lan0"];

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** A start that fails as it should: one line, an error with a hint, and the host as it was. */
async function failedStart(
  host: LabHost,
  args: readonly string[],
  options: ProxyRunOptions = {},
): Promise<Failure> {
  const before = await kernelState(host);
  await using proxy = ProxyRun.launch(host, args, options);
  // Less than the workers are given to stop: those that are only starting must not miss that they are to.
  assertEquals(await proxy.exitCode(4_000), 1, proxy.process.stderr.tail());
  assertEquals(await kernelState(host), before);
  const [error, ...others] = proxy.logged("error");
  assert(error !== undefined && others.length === 0, proxy.process.stderr.tail());
  assert(error.hint !== undefined, "no hint");
  const { code, message, hint } = error;
  return { code, message, hint };
}

labTest("port taken by another program", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  for (const address of ["127.0.0.1", "::", GATEWAY_LAB.gateway.v4]) {
    await using _taken = await here.serve({ kind: "close", address, port: 7870 });
    assertEquals(await failedStart(here, FROM_LAN), {
      code: "port-taken",
      message: "TCP port 7870: taken by another program",
      hint: "choose another one with --port; `ss -ltnp 'sport = :7870'` shows who has it " +
        "(another pellucid, perhaps)",
    }, address);
  }
});

labTest(
  "a second pellucid: told of the port first, then of the table; the first one carries on",
  async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using first = await ProxyRun.start(here, FROM_LAN);
    // SO_REUSEPORT alone would let both listen, each with a part of the connections.
    assertEquals((await failedStart(here, FROM_LAN)).code, "port-taken");
    const other = await failedStart(here, [...FROM_LAN, "--port", "7970"]);
    assertEquals(other.code, "rules-failed");
    assertEquals(other.message, "rules check: table inet pellucid belongs to a running process");
    assertEquals(other.hint, "nothing was changed; stop that one first");
    const client = lab.host("client");
    for (const address of [GATEWAY_LAB.servers.v4, GATEWAY_LAB.servers.v6]) {
      const { received } = await client.connect({
        address,
        port: echo.port,
        steps: [{ do: "send", bytes: 100 }, { do: "await-bytes", bytes: 100 }],
      });
      assertEquals(received, 100);
    }
    assertEquals((await first.stop()).tcpFinished, 2);
  },
);

labTest("not enough privilege: what is missing, for what, and what works without", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const prefix = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
  const wanted: [args: string[], why: RegExp][] = [
    [FROM_LAN, /CAP_NET_ADMIN missing, wanted to load rules and routes$/],
    [["--rules", "none"], /CAP_NET_ADMIN missing, wanted for the listener's IP_TRANSPARENT$/],
    [["--rules", "none", "--tcp", "redirect", "--source", "keep"], /wanted to keep client addresses/],
    [["--rules", "none", "--tcp", "redirect", "--local"], /wanted to mark our own connections/],
    [
      ["--rules", "none", "--tcp", "redirect"],
      /wanted for UDP \(IP_TRANSPARENT\), which --udp off leaves alone$/,
    ],
  ];
  for (const [args, why] of wanted) {
    const { code, message, hint } = await failedStart(here, args, { prefix });
    assertEquals(code, "not-permitted");
    assertMatch(message, why);
    assertMatch(hint, /sudo.*`pellucid demo`.*`unshare -Urn`/);
  }
});

labTest(
  "a UDP port taken by another program, whichever worker's it is and of whichever address",
  async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    const holders: [address: string, port: number][] = [
      ["UDP4-RECV:7870", 7870],
      ["UDP4-RECV:7872,bind=127.0.0.1,reuseaddr", 7872],
      ["UDP6-RECV:7871,ipv6only=1", 7871],
    ];
    for (const [address, port] of holders) {
      await using _holder = here.spawn(["socat", "-u", address, "STDOUT"]);
      await eventually(
        `${address} is bound`,
        async () => (await here.output(["ss", "-Haun"])).includes(`:${port} `),
        15_000,
      );
      assertEquals(await failedStart(here, [...FROM_LAN, "--workers", "3"]), {
        code: "port-taken",
        message: `UDP port ${port}: taken by another program`,
        hint: `choose another one with --port; \`ss -aunp 'sport = :${port}'\` shows who has it ` +
          "(another pellucid, perhaps)",
      });
    }
  },
);

labTest("answers from low ports need a capability of their own, unless UDP is left alone", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const without = "-net_bind_service";
  const prefix = ["setpriv", `--bounding-set=${without}`, `--inh-caps=${without}`];
  const { code, message, hint } = await failedStart(here, FROM_LAN, { prefix });
  assertEquals(code, "not-permitted");
  assertMatch(message, /CAP_NET_BIND_SERVICE missing, wanted to answer UDP clients from low ports/);
  assertStringIncludes(hint, "--udp off");
  for (const flags of [["--udp", "off"], ["--udp-ports", "1024-65535"]]) {
    await using proxy = await ProxyRun.start(here, [...FROM_LAN, ...flags], { prefix });
    await proxy.stop();
  }
});

/** With `auto` iptables would do. */
const BY_NFT = [...FROM_LAN, "--rules", "nft"];

labTest("nft or ip missing: which package has it", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  for (const [program, debianPackage] of [["nft", "nftables"], ["ip", "iproute2"]] as const) {
    // Also with a file of that name in PATH that nobody may run: the search then ends in EACCES, not in ENOENT.
    await using tools = await ToolFolder.create();
    await Deno.writeTextFile(`${tools.path}/${program}`, "no program", { mode: 0o644 });
    for (const env of [{}, tools.env]) {
      const prefix = withoutProgram(program);
      const { code, message, hint } = await failedStart(here, BY_NFT, { prefix, env });
      assertEquals([code, message], ["program-missing", `host: ${program} is not installed`]);
      assertEquals(hint, `install the package ${debianPackage}`);
    }
  }
});

labTest("a host without setsid runs as any other", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await using proxy = await ProxyRun.start(here, BY_NFT, { prefix: withoutProgram("setsid") });
  assertStringIncludes(await here.output(["nft", "list", "tables"]), "pellucid");
  await proxy.stop();
  assertEquals(await here.output(["nft", "list", "tables"]), "");
});

labTest("a kernel without tproxy: said so, and redirect offered, which works there", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await using tools = await ToolFolder.create();
  // What nft 1.0.6 prints when the kernel has no such expression: ENOENT for the rule (nf_tables_api.c, nft_expr_type_get).
  await tools.wrap(
    "nft",
    `input=$(mktemp); trap 'rm -f "$input"' EXIT
     case " $* " in *" -f "*) cat >"$input" ;; *) exec "$REAL" "$@" ;; esac
     if grep -q "tproxy to" "$input"; then
       echo "/dev/stdin:1:1-1: Error: Could not process rule: No such file or directory" >&2
       exit 1
     fi
     "$REAL" "$@" <"$input"`,
  );
  const { code, message, hint } = await failedStart(here, BY_NFT, tools);
  assertEquals(code, "kernel-without-tproxy");
  assertStringIncludes(message, '"tproxy"');
  assertEquals(
    (await failedStart(here, [...BY_NFT, "--tcp", "redirect"], tools)).code,
    code,
    "UDP needs it too",
  );
  assertEquals(
    hint,
    "`modprobe nft_tproxy` as root, or a kernel with CONFIG_NFT_TPROXY, and nft 1.0 or newer; " +
      "--tcp redirect --udp off works without",
  );
  await using proxy = await ProxyRun.start(here, [...BY_NFT, "--tcp", "redirect", "--udp", "off"], tools);
  assertEquals((await proxy.event("ready")).mode, "redirect");
  await proxy.stop();
});

labTest("an unknown interface: those that exist are listed", async () => {
  await using lab = await gatewayLab();
  const { code, message, hint } = await failedStart(lab.host("gateway"), [
    "--from",
    "lan0",
    "--from",
    "eth7",
  ]);
  assertEquals(code, "interface-unknown");
  assertStringIncludes(message, "eth7 found");
  assertMatch(message, /it has .*\blan0\b.*\bwan0\b/);
  assertStringIncludes(hint, "ip link");
});

labTest("flags that contradict each other: every problem at once, exit code 2, nothing touched", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  const args = [
    "--tcp",
    "off",
    "--udp",
    "off",
    "--from",
    "lo",
    "--from",
    "lan0",
    "--from",
    "lan0",
    "--port",
    "0",
  ];
  await using proxy = ProxyRun.launch(here, args);
  assertEquals(await proxy.exitCode(), 2);
  assertEquals(proxy.logged("error").map(({ code, message }) => `${code} ${message.split(" found")[0]}`), [
    "config --tcp, --udp: off and off",
    "config --from: lo",
    "config --from: lan0 twice",
    "config --port: 0",
  ]);
  assertEquals(await kernelState(here), before);
});
