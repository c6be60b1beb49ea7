import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import { applyCases } from "../tests/kernel/nft_apply_cases.ts";
import { gatewayPlan } from "../tests/kernel/nft_lab.ts";
import { applyPlan } from "./apply.ts";
import { cleanup } from "./cleanup.ts";
import { detectHost, missingAddresses } from "./detect.ts";
import { FakeExec } from "./fake_exec.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

const INTERFACES = ["lan0", "wan0"];

for (const { name, run } of applyCases("nft")) {
  Deno.test(`fake host: ${name}`, () => run(new FakeExec({ interfaces: INTERFACES })));
}

Deno.test("applyPlan: a host without IPv6 gets the IPv4 half", async () => {
  const exec = new FakeExec({ interfaces: INTERFACES, ipv6: false });
  const host = await detectHost(exec);
  assertEquals(host.findings.map(({ code }) => code), ["no-ipv6"]);
  await using rules = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
  assertEquals(await rules.heal(), []);
  assertEquals((await exec.run(["ip", "-N", "-d", "-j", "-6", "rule", "list"])).stdout, "[]");
});

Deno.test("applyPlan: without owner tables the table is a plain one", async () => {
  const exec = new FakeExec({ interfaces: INTERFACES, lacks: ["flags owner"] });
  const host = await detectHost(exec);
  assertEquals(host.findings.map(({ code }) => code), ["no-owner-tables"]);
  await using rules = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
  assertEquals(rules.hold, "plain");
});

Deno.test("applyPlan: says what the host lacks, and only when the plan needs it", async () => {
  const cases = [
    [{ missing: ["nft"] }, "nft-missing", "redirect"],
    [{ missing: ["ip"] }, "ip-missing", "tproxy"],
    [{ privileged: false }, "not-privileged", "tproxy"],
    [{ lacks: ["tproxy to"] }, "no-tproxy", "tproxy"],
    [{ lacks: ["redirect to"] }, "no-redirect", "redirect"],
    [{ lacks: ["fib daddr"] }, "no-fib", "tproxy"],
    [{ lacks: ["tproxy to"] }, "no-tproxy", "redirect", { udp: "tproxy" }],
    [{ lacks: ["notrack"] }, "no-conntrack", "tproxy", { udp: "tproxy" }],
    [{ lacks: ["jhash"] }, "no-hash", "tproxy", { udp: "tproxy", udpWorkers: 2 }],
  ] as const;
  for (const [options, code, tcp, udp = {}] of cases) {
    const exec = new FakeExec({ interfaces: INTERFACES, ...options });
    const host = await detectHost(exec);
    assert(host.findings.some((finding) => finding.code === code), code);
    const error = await assertRejects(() =>
      applyPlan(gatewayPlan({ tcp, ...udp }), { exec, host, backend: "nft", keep: "process" })
    );
    assert(isRuleApplyError(error, "check"), code);
    // nft's own refusal of the whole would be of the same stage, without the reason.
    const { message } = host.findings.find((finding) => finding.code === code)!;
    assertStringIncludes(error.message, message);
  }
  const exec = new FakeExec({ interfaces: INTERFACES, lacks: ["tproxy to"] });
  const host = await detectHost(exec);
  await using _rules = await applyPlan(gatewayPlan({ tcp: "redirect" }), {
    exec,
    host,
    backend: "nft",
    keep: "process",
  });
});

Deno.test("applyPlan: what UDP alone needs keeps nothing else from working", async () => {
  const exec = new FakeExec({ interfaces: INTERFACES, lacks: ["notrack", "jhash"] });
  const host = await detectHost(exec);
  await using _rules = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
});

Deno.test("applyPlan: one worker needs no hash", async () => {
  const exec = new FakeExec({ interfaces: INTERFACES, lacks: ["jhash"] });
  const host = await detectHost(exec);
  await using _rules = await applyPlan(gatewayPlan({ udp: "tproxy" }), {
    exec,
    host,
    backend: "nft",
    keep: "process",
  });
});

Deno.test("missingAddresses: only where redirect needs one, for each family this host speaks", async () => {
  const missing = async (ipv6: boolean, plan = gatewayPlan({ tcp: "redirect" })) => {
    const host = await detectHost(new FakeExec({ interfaces: INTERFACES, unnumbered: ["lan0"], ipv6 }));
    return missingAddresses(plan, host).map(({ message }) => message.split(":")[0]);
  };
  assertEquals(await missing(true), ["lan0 has no IPv4 address", "lan0 has no IPv6 address"]);
  assertEquals(await missing(false), ["lan0 has no IPv4 address"]);
  assertEquals(await missing(true, gatewayPlan({ tcp: "redirect", from: ["wan0"] })), []);
  assertEquals(await missing(true, gatewayPlan()), []);
});

Deno.test("AppliedRules.lost: resolves when the holder dies, not when we revert", async () => {
  const exec = new FakeExec({ interfaces: INTERFACES });
  const host = await detectHost(exec);
  const killed = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
  exec.sessions[0]!.kill();
  assertEquals(await killed.lost, "the nft process that holds our table ended: SIGKILL");
  await killed.revert();
  const reverted = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
  await reverted.revert();
  const still = Symbol();
  assertEquals(
    await Promise.race([reverted.lost, new Promise((resolve) => setTimeout(() => resolve(still), 10))]),
    still,
  );
});

/** Tells what was run, in order, and how long it might have taken. */
class WatchedExec extends FakeExec {
  readonly ran: { readonly command: string; readonly timeoutMs: number | undefined }[] = [];

  override run(argv: readonly string[], options: { stdin?: string; timeoutMs?: number } = {}) {
    this.ran.push({ command: argv.join(" "), timeoutMs: options.timeoutMs });
    return super.run(argv, options);
  }
}

Deno.test("AppliedRules.revert: the routes go before conntrack is asked, which is not waited for long", async () => {
  const exec = new WatchedExec({ interfaces: INTERFACES });
  const host = await detectHost(exec);
  const rules = await applyPlan(gatewayPlan({ udp: "tproxy" }), {
    exec,
    host,
    backend: "nft",
    keep: "process",
  });
  exec.ran.length = 0;
  await rules.revert();
  const changes = exec.ran.filter(({ command }) => / del |^conntrack /.test(command));
  assertEquals(changes.map(({ command }) => command.split(" ")[0]), [
    ...Array(4).fill("ip"),
    ...Array(2).fill("conntrack"),
  ]);
  for (const { command, timeoutMs = Infinity } of changes.slice(4)) assert(timeoutMs <= 2_000, command);
});

Deno.test("cleanup: what conntrack keeps of flows that a killed process took goes too", async () => {
  const exec = new WatchedExec({ interfaces: INTERFACES });
  await cleanup(exec);
  assertEquals(exec.ran.map(({ command }) => command).filter((command) => command.startsWith("conntrack")), [
    "conntrack -D -f ipv4 -p udp -m 0x1000000/0x3000000",
    "conntrack -D -f ipv6 -p udp -m 0x1000000/0x3000000",
  ]);
});

Deno.test("AppliedRules.replace: old routes that cannot be removed are said, and the new rules are there", async () => {
  const exec = new class extends FakeExec {
    refusesRemoval = false;
    override run(argv: readonly string[], options: { stdin?: string } = {}) {
      if (!this.refusesRemoval || !argv.includes("del")) return super.run(argv, options);
      return Promise.resolve({ code: 2, stdout: "", stderr: "refused" });
    }
  }({ interfaces: INTERFACES });
  const host = await detectHost(exec);
  const wide = gatewayPlan({ from: INTERFACES });
  await using rules = await applyPlan(wide, { exec, host, backend: "nft", keep: "process" });
  exec.refusesRemoval = true;
  const error = await assertRejects(() => rules.replace(gatewayPlan()));
  assert(isRuleApplyError(error, "revert"), `${error}`);
  assertStringIncludes(error.message, "the new rules are in place, old routes are left: ");
  exec.refusesRemoval = false;
  assertEquals([...new Set((await rules.heal()).map(({ kind }) => kind))], ["route"]);
  assertEquals(await rules.heal(), []);
});
