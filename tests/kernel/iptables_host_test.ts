/**
 * The iptables backends on a host with other programs' rules: theirs stay as they are, ours are known and mended.
 *
 * @module
 */
import { cleanup } from "../../nft/cleanup.ts";
import { SUCCESSOR_CODE } from "../../nft/backend.ts";
import { findIptablesRules } from "../../nft/iptables_found.ts";
import { isRuleApplyError } from "../../nft/rule_apply_error.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { foreignRules } from "./iptables_foreign_rules.ts";
import {
  differenceTexts,
  FLAVOURS,
  ipsetNames,
  iptablesBackend,
  labPlan,
  prefixes,
  savedRules,
} from "./iptables_lab.ts";
import { labExec } from "./nft_lab.ts";

/** A plan with rules in each table, and an ipset. */
function widePlan(port = 7870) {
  return labPlan({
    port,
    tcp: "redirect",
    local: true,
    source: "keep",
    onProxyDown: "closed",
    select: { destinations: { include: [], exclude: prefixes(100) } },
  });
}

async function addForeignRules(host: LabHost): Promise<void> {
  for (const flavour of ["nft", "legacy"]) {
    for (const family of [4, 6] as const) {
      const program = `${family === 4 ? "iptables" : "ip6tables"}-${flavour}-restore`;
      await host.output([program, "--noflush"], { stdin: foreignRules(family) });
    }
  }
}

for (const flavour of FLAVOURS) {
  const program = flavour === "iptables" ? "iptables-nft" : flavour;

  labTest(
    `${flavour}: what others have is byte for byte the same when ours has gone, in either way`,
    async () => {
      await using lab = await gatewayLab();
      const gateway = lab.host("gateway");
      await addForeignRules(gateway);
      const before = await savedRules(gateway);
      const backend = iptablesBackend(gateway, flavour, { by: "4711/123" });
      const isTheirs = (line: string) => !line.includes("pellucid_") || line.includes("dapp_Samba");

      await backend.load(widePlan(), "intercept");
      assertEquals((await savedRules(gateway)).split("\n").filter(isTheirs).join("\n"), before);
      assertEquals(await backend.remove(), undefined);
      assertEquals(await savedRules(gateway), before);
      assertEquals(await backend.remove(), undefined);

      await backend.load(widePlan(), "intercept");
      const successor = iptablesBackend(gateway, flavour, { by: "4711/124" });
      const late = await gateway.run(["sh", "-c", successor.removeScript()]);
      assertEquals(late.code, SUCCESSOR_CODE, "rules of another process stay, and the script says so");
      assertEquals(await differenceTexts(backend, widePlan()), []);
      const { code, stderr } = await gateway.run(["sh", "-c", backend.removeScript()]);
      const said = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("# Warning:"));
      assertEquals([code, said], [0, []]);
      assertEquals(await savedRules(gateway), before);
      assertEquals(await ipsetNames(gateway), []);
      assertEquals((await gateway.run(["sh", "-c", backend.removeScript()])).code, 0);
    },
  );

  labTest(`${flavour}: a cleanup leaves chains that speak of us, or are called as ours`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    await addForeignRules(gateway);
    const mine = "*filter\n:pellucid_mine - [0:0]\n:pellucid_empty - [0:0]\n-A INPUT -j pellucid_mine\n" +
      '-A pellucid_mine -p tcp -m comment --comment "ssh: only from home" -j DROP\nCOMMIT\n';
    await gateway.output([`${program}-restore`, "--noflush"], { stdin: mine });
    const before = await savedRules(gateway);
    assertEquals(await cleanup(labExec(gateway)), { removed: [], inUse: [], left: [] });
    assertEquals(await savedRules(gateway), before);
    const backend = iptablesBackend(gateway, flavour, { by: "4711/123" });
    const ways = [
      () => cleanup(labExec(gateway)),
      () => gateway.output(["sh", "-c", backend.removeScript()]),
    ];
    for (const remove of ways) {
      await backend.load(widePlan(), "intercept");
      await remove();
      assertEquals(await savedRules(gateway), before);
    }
  });

  labTest(
    `${flavour}: a chain of ours that somebody's rule leads to stays, empty, and nothing else`,
    async () => {
      await using lab = await gatewayLab();
      const gateway = lab.host("gateway");
      const backend = iptablesBackend(gateway, flavour, { by: "4711/123" });
      const chain = "pellucid_redirect_out";
      const ways = [
        () => backend.remove(),
        () => gateway.output(["sh", "-c", backend.removeScript()]),
      ];
      for (const remove of ways) {
        await backend.load(widePlan(), "intercept");
        const theirs = `*nat\n:THEIRS - [0:0]\n-A OUTPUT -j ${chain}\n-A THEIRS -p tcp -g ${chain}\nCOMMIT\n`;
        await gateway.output([`${program}-restore`, "--noflush"], { stdin: theirs });
        await remove();
        const left = (await savedRules(gateway)).split("\n").filter((line) => line.includes("pellucid_"));
        assertEquals(left, [`:${chain} -`, `-A OUTPUT -j ${chain}`, `-A THEIRS -p tcp -g ${chain}`]);
        assertEquals(await ipsetNames(gateway), []);
        await gateway.output([program, "-t", "nat", "-D", "OUTPUT", "-j", chain]);
      }
    },
  );

  labTest(`${flavour}: what somebody removes is named, and a load mends it`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    await addForeignRules(gateway);
    const plan = widePlan();
    const backend = iptablesBackend(gateway, flavour);
    await backend.load(plan, "intercept");
    const mend = async (...expected: string[]) => {
      const found = await differenceTexts(backend, plan);
      assertEquals(found.length, expected.length, found.join("\n"));
      expected.forEach((text, i) => assertStringIncludes(found[i]!, text));
      await backend.load(plan, "intercept");
      assertEquals(await differenceTexts(backend, plan), []);
    };
    const run = (...args: string[]) => gateway.output([program, ...args]);

    await run("-t", "nat", "-D", "pellucid_redirect_in_i", "1");
    await mend('iptables -t nat: chain pellucid_redirect_in_i: rule "new: ');
    await run("-t", "nat", "-I", "pellucid_redirect_in_i", "1", "-p", "tcp", "-j", "ACCEPT");
    await mend('chain pellucid_redirect_in_i: rule "" is not ours');
    await run("-t", "nat", "-D", "PREROUTING", "1");
    await mend("the jump from PREROUTING to pellucid_redirect_in is missing");
    await run("-t", "mangle", "-F");
    const lost = await differenceTexts(backend, plan);
    assert(lost.some((text) => text.includes("-t mangle: the jump from PREROUTING")), lost.join("\n"));
    await backend.load(plan, "intercept");
    await gateway.output([`${program.replace("ip", "ip6")}`, "-t", "filter", "-F"]);
    await gateway.output([`${program.replace("ip", "ip6")}`, "-t", "filter", "-X"]);
    await mend(
      "ip6tables -t filter: the jump from INPUT to pellucid_redirect_closed is missing",
      "chain pellucid_redirect_closed is missing",
    );
    if (flavour === "iptables") {
      await gateway.output(["nft", "flush", "ruleset"]);
      await mend("iptables: our rules are missing", "ip6tables: our rules are missing");
    }
    // The same jump twice, as after a foolish restore.
    const jump = (await gateway.output([`${program}-save`, "-t", "nat"])).split("\n")
      .find((line) => line.startsWith("-A OUTPUT") && line.includes("-j pellucid_"))!;
    await gateway.output([`${program}-restore`, "--noflush"], { stdin: `*nat\n${jump}\nCOMMIT\n` });
    await mend("the jump from OUTPUT to pellucid_redirect_out is there 2 times");
    assertEquals(await backend.remove(), undefined);
    assert(!(await savedRules(gateway)).includes("-j pellucid_"));
  });

  labTest(`${flavour}: rules of a plan before, of another phase or process, are told apart`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const backend = iptablesBackend(gateway, flavour, { by: "4711/123" });
    await backend.load(widePlan(), "intercept");
    const kinds = async (
      of: typeof backend,
      plan = widePlan(),
      phase: "intercept" | "drain" = "intercept",
    ) => [...new Set((await of.differences(plan, phase)).map(({ kind }) => kind))];
    assertEquals(await kinds(backend), []);
    assertEquals(
      await kinds(iptablesBackend(gateway, flavour)),
      [],
      "who asks in nobody's name asks for the plan",
    );
    assertEquals(await kinds(iptablesBackend(gateway, flavour, { by: "4711/124" })), ["table"]);
    assertEquals(await kinds(backend, widePlan(7871)), ["table"]);
    assertEquals(await kinds(backend, widePlan(), "drain"), ["table"]);
    assertEquals(await kinds(backend, labPlan()), ["table"]);
  });

  labTest(
    `${flavour}: a chain with our name that is somebody else's stops us before anything changes`,
    async () => {
      await using lab = await gatewayLab();
      const gateway = lab.host("gateway");
      await gateway.output([program, "-t", "mangle", "-N", "pellucid_udp_in"]);
      await gateway.output([program, "-t", "mangle", "-A", "pellucid_udp_in", "-j", "ACCEPT"]);
      const before = await savedRules(gateway);
      const backend = iptablesBackend(gateway, flavour);
      for (const work of [() => backend.check(labPlan()), () => backend.load(labPlan(), "intercept")]) {
        const error = await assertRejects(work);
        assert(isRuleApplyError(error), `${error}`);
        assertStringIncludes(error.message, "chain mangle pellucid_udp_in exists and is not ours");
      }
      // The check may have made tables that were not there; nothing is in them.
      assertEquals(
        (await savedRules(gateway)).split("\n").filter((line) => line.includes("pellucid")),
        before.split("\n").filter((line) => line.includes("pellucid")),
      );
    },
  );

  labTest(`${flavour}: rules are found without configuration, and whether somebody needs them`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const exec = labExec(gateway);
    assertEquals(await findIptablesRules(flavour, exec), []);
    const sysctls = [{ key: "net/ipv4/tcp_fwmark_accept", value: "0" }];
    const other = iptablesBackend(gateway, flavour, { tableName: "mine", by: "4711/123", sysctls });
    const plan = labPlan({ tableName: "mine", tcp: "off", udpWorkers: 1 });
    await other.load(plan, "intercept");
    const [found, ...more] = await findIptablesRules(flavour, exec);
    assertEquals(more, []);
    assertEquals([found!.tableName, found!.isInUse, found!.isKept, found!.sysctls], [
      "mine",
      false,
      false,
      sysctls,
    ]);
    // A living process: the shell that asks is one itself.
    const start = await gateway.output(["sh", "-c", "cat /proc/1/stat"]);
    const living = `1/${start.slice(start.lastIndexOf(")") + 2).split(" ")[19]}`;
    await iptablesBackend(gateway, flavour, { tableName: "mine", by: living }).load(plan, "intercept");
    assertEquals((await findIptablesRules(flavour, exec)).map(({ isInUse }) => isInUse), [true]);
    const held = await assertRejects(() => other.load(plan, "intercept"));
    assertEquals((held as Error).name, "TableHeldError");
    assertStringIncludes((await other.remove())!, "running process");
    const owner = iptablesBackend(gateway, flavour, { tableName: "mine", by: living });
    assertEquals(await owner.remove(), undefined);
    // Kept ones, and chains that lost their jump.
    await iptablesBackend(gateway, flavour).load(labPlan(), "intercept");
    const [kept] = await findIptablesRules(flavour, exec);
    assertEquals([kept!.isKept, kept!.isInUse], [true, false]);
    await gateway.output([program, "-t", "mangle", "-F", "PREROUTING"]);
    await gateway.output([program.replace("ip", "ip6"), "-t", "mangle", "-F", "PREROUTING"]);
    for (const rules of await findIptablesRules(flavour, exec)) assertEquals(await rules.remove(), undefined);
    assert(!(await savedRules(gateway)).includes("pellucid"));
    assertEquals(await findIptablesRules(flavour, exec), []);
  });
}
