/**
 * Whether real iptables, both flavours and families, takes the rules and lists them back.
 *
 * @module
 */
import { COMMAND_MISSING, type Exec } from "../../nft/exec.ts";
import { isRuleApplyError, RuleApplyError } from "../../nft/rule_apply_error.ts";
import type { Plan } from "../../nft/plan.ts";
import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { everyPlan } from "./iptables_every_plan.ts";
import {
  differenceTexts,
  FLAVOURS,
  ipsetNames,
  iptablesBackend,
  labPlan,
  prefixes,
  rule,
  savedRules,
} from "./iptables_lab.ts";
import { labExec } from "./nft_lab.ts";

/** Kinds of plan that the builders make. */
function builtPlans(): Record<string, Plan> {
  const sidecar = {
    proxyUids: [{ first: 0, last: 0 }],
    virtualInterfaces: ["tap0"],
    dns: { port: 15053, servers: [] },
    dropInvalid: true,
  };
  const pod = { from: [], udp: "off" } as const;
  return {
    "gateway": labPlan({ local: true, source: "keep" }),
    "gateway, closed": labPlan({ local: true, source: "keep", onProxyDown: "closed" }),
    "redirect, closed": labPlan({ tcp: "redirect", local: true, onProxyDown: "closed" }),
    "sidecar": labPlan({ ...pod, sidecar, onProxyDown: "closed" }),
    "sidecar, tproxy": labPlan({ ...pod, source: "keep", sidecar: { ...sidecar, inbound: "tproxy" } }),
  };
}

for (const flavour of FLAVOURS) {
  labTest(`${flavour}: the kernel takes every match and verdict, and they are listed back`, async () => {
    await using lab = await gatewayLab();
    const backend = iptablesBackend(lab.host("gateway"), flavour, { by: "4711/123" });
    const plan = everyPlan();
    assertEquals(backend.unsupported(plan), []);
    await backend.check(plan);
    assertEquals((await backend.differences(plan, "intercept")).length, 4);
    await assertRejects(() => backend.counters(plan), RuleApplyError, "is missing");
    await backend.load(plan, "intercept");
    // Rules of another plan are no rules of this one.
    await assertRejects(() => backend.counters(labPlan()), RuleApplyError, "is missing");
    assertEquals(await differenceTexts(backend, plan), []);
    const counters = await backend.counters(plan);
    assertEquals(
      counters.map(({ chain, rule }) => `${chain}/${rule}`),
      plan.chains.flatMap(({ name, rules }) => rules.map(({ id }) => `${name}/${id}`)),
    );
  });

  labTest(
    `${flavour}: every kind of plan is taken in both phases, over the one before, and twice alike`,
    async () => {
      await using lab = await gatewayLab();
      const gateway = lab.host("gateway");
      const backend = iptablesBackend(gateway, flavour);
      for (const [name, plan] of Object.entries(builtPlans())) {
        assertEquals(backend.unsupported(plan), [], name);
        await backend.check(plan);
        await backend.load(plan, "intercept");
        assertEquals(await differenceTexts(backend, plan), [], name);
        const once = await savedRules(gateway);
        await backend.load(plan, "intercept");
        assertEquals(await savedRules(gateway), once, name);
        await backend.load(plan, "drain");
        assertEquals(await differenceTexts(backend, plan, "drain"), [], name);
        assertNotEquals(await differenceTexts(backend, plan), [], name);
      }
      assertEquals(await backend.remove(), undefined);
      assert(!(await savedRules(gateway)).includes("pellucid"));
    },
    { timeoutMs: 120_000 },
  );

  labTest(`${flavour}: what the kernel refuses is found by the check and changes nothing`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const backend = iptablesBackend(gateway, flavour);
    const sound = labPlan({ tcp: "redirect", local: true });
    await backend.load(sound, "intercept");
    const before = await savedRules(gateway);
    // The raw table, which comes first, is fine; and IPv4 is fine.
    const cgroup = { kind: "cgroup", path: "there/is/no/such/cgroup" } as const;
    const refused: Plan = {
      ...sound,
      chains: sound.chains.map((chain) =>
        chain.name === "redirect_out"
          ? {
            ...chain,
            rules: [
              ...chain.rules,
              rule("refused", [{ kind: "family", family: 6 }, cgroup], { kind: "pass" }),
            ],
          }
          : chain
      ),
    };
    assertNotEquals(
      refused.chains.flatMap(({ rules }) => rules).length,
      sound.chains.flatMap(({ rules }) => rules).length,
    );
    const checked = await assertRejects(() => backend.check(refused));
    assert(isRuleApplyError(checked, "check"), `${checked}`);
    assertEquals(await savedRules(gateway), before);
    const loaded = await assertRejects(() => backend.load(refused, "intercept"));
    assert(isRuleApplyError(loaded, "apply"), `${loaded}`);
    assertEquals(await savedRules(gateway), before);
    assertEquals(await differenceTexts(backend, sound), []);
  });

  labTest(`${flavour}: 20,000 prefixes are an ipset that changes with the rules, and is mended`, async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const backend = iptablesBackend(gateway, flavour);
    const planOf = (count: number) =>
      labPlan({
        select: { destinations: { include: [], exclude: [...prefixes(count), ...prefixes(100, 6)] } },
      });
    const plan = planOf(20_000);
    await backend.check(plan);
    assertEquals(await ipsetNames(gateway), []);
    await backend.load(plan, "intercept");
    assertEquals(await differenceTexts(backend, plan), []);
    const first = await ipsetNames(gateway);
    assertEquals(first.length, 2);

    const smaller = planOf(19_999);
    await backend.load(smaller, "intercept");
    const second = await ipsetNames(gateway);
    assertEquals(
      second.filter((name) => first.includes(name)).length,
      1,
      "the list that stays is left alone",
    );
    assertEquals(second.length, 2);

    await gateway.output(["ipset", "del", second.find((name) => name.includes("_4_"))!, "10.0.0.0"]);
    const [difference, ...others] = await differenceTexts(backend, smaller);
    assertStringIncludes(difference!, "19998 elements, 19999 wanted");
    assertEquals(others, []);
    await backend.load(smaller, "intercept");
    assertEquals(await differenceTexts(backend, smaller), []);
    assertEquals((await ipsetNames(gateway)).toSorted(), second.toSorted());

    assertEquals(await backend.remove(), undefined);
    assertEquals(await ipsetNames(gateway), []);

    const real = labExec(gateway);
    const exec: Exec = {
      run: (argv, options) =>
        argv[0] === "ipset"
          ? Promise.resolve({ code: COMMAND_MISSING, stdout: "", stderr: "ipset: not found" })
          : real.run(argv, options),
      open: (argv) => real.open(argv),
      watch: (argv, onLine) => real.watch(argv, onLine),
    };
    const poorer = iptablesBackend(gateway, flavour, { exec });
    const error = await assertRejects(() => poorer.check(plan));
    assert(isRuleApplyError(error, "check"), `${error}`);
    assertStringIncludes(error.message, "--exclude-cidr: 20000 prefixes need the program ipset");
    const short = labPlan({
      select: { destinations: { include: [], exclude: prefixes(32) } },
    });
    await poorer.check(short);
    await poorer.load(short, "intercept");
    assertEquals(await differenceTexts(poorer, short), []);
    assertEquals(await poorer.remove(), undefined);
  });
}
