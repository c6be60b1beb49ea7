/**
 * What applying, verifying and cleaning up must do on any host: run on the fake (nft/apply_test.ts) and on a real
 * kernel (nft_apply_test.ts). Each case starts on a host of its own with interfaces lan0 and wan0.
 *
 * @module
 */
import {
  type AppliedRules,
  applyPlan,
  cleanup,
  detectHost,
  type Exec,
  type ExecResult,
  type ExecSession,
  type HostFacts,
  isRuleApplyError,
  type Plan,
  planForHost,
  verifyPlan,
} from "../../nft/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { gatewayPlan } from "./nft_lab.ts";

/** One case. */
export interface ApplyCase {
  readonly name: string;
  run(exec: Exec): Promise<void>;
}

/** Counts what changes the host, and fails the n-th such command when told so. */
class CountingExec implements Exec {
  changes = 0;
  readonly #inner: Exec;
  readonly #failAt: number;

  constructor(inner: Exec, failAt = Infinity) {
    this.#inner = inner;
    this.#failAt = failAt;
  }

  async run(argv: readonly string[], options?: { stdin?: string }): Promise<ExecResult> {
    const changes = argv.includes("add") || argv.includes("del") || argv[1] === "-f";
    if (changes && this.changes++ === this.#failAt) return { code: 2, stdout: "", stderr: "injected" };
    return await this.#inner.run(argv, options);
  }

  open(argv: readonly string[]): ExecSession {
    const session = this.#inner.open(argv);
    const fails = this.changes++ === this.#failAt;
    return {
      exchange: (line, isComplete) =>
        session.exchange(fails ? `nonsense\n${line.split("\n")[1]}` : line, isComplete),
      close: () => session.close(),
      ended: session.ended,
    };
  }
}

async function apply(exec: Exec, plan: Plan, hold: "owner" | "plain"): Promise<[AppliedRules, HostFacts]> {
  const host = await detectHost(exec);
  return [await applyPlan(plan, { exec, host, hold }), host];
}

async function assertNothingLeft(exec: Exec): Promise<void> {
  assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "");
  assertEquals(await cleanup(exec), { removed: [], inUse: [] });
}

const PLANS: Readonly<Record<string, Plan>> = {
  tproxy: gatewayPlan(),
  "tproxy local": gatewayPlan({ local: true }),
  "tproxy keep": gatewayPlan({ source: "keep" }),
  redirect: gatewayPlan({ tcp: "redirect", local: true }),
  "redirect keep": gatewayPlan({ tcp: "redirect", source: "keep" }),
  "udp": gatewayPlan({ udp: "tproxy", udpPorts: [{ first: 53, last: 53 }, { first: 1000, last: 2000 }] }),
  "udp keep local": gatewayPlan({ udp: "tproxy", udpWorkers: 2, source: "keep", local: true }),
  "udp beside redirect": gatewayPlan({ tcp: "redirect", udp: "tproxy", local: true }),
  "udp alone, many workers": gatewayPlan({ tcp: "off", udp: "tproxy", udpWorkers: 64 }),
};

/** All of them. */
export const APPLY_CASES: readonly ApplyCase[] = [
  ...Object.entries(PLANS).flatMap(([name, plan]) =>
    (["owner", "plain"] as const).map((hold): ApplyCase => ({
      name: `${name}, ${hold}: apply, drain, revert`,
      async run(exec) {
        const [rules, host] = await apply(exec, plan, hold);
        const here = planForHost(plan, host);
        assertEquals(rules.hold, hold);
        assertEquals(await verifyPlan(here, exec), []);
        await rules.enterDrain();
        assertEquals(await verifyPlan(here, exec, "drain"), []);
        assertEquals((await verifyPlan(here, exec)).map(({ kind }) => kind), ["table"]);
        await rules.revert();
        await rules.revert();
        await assertNothingLeft(exec);
      },
    }))
  ),
  ...(["owner", "plain"] as const).map((hold): ApplyCase => ({
    name: `${hold}: a failure at any step leaves nothing`,
    async run(exec) {
      const plan = PLANS["tproxy keep"]!;
      const whole = new CountingExec(exec);
      const [rules, host] = await apply(whole, plan, hold);
      const steps = whole.changes;
      await rules.revert();
      assert(steps >= 4, `${steps} steps`);
      for (let step = 0; step < steps; step++) {
        const failing = new CountingExec(exec, step);
        const error = await assertRejects(() => applyPlan(plan, { exec: failing, host, hold }));
        assert(isRuleApplyError(error, "apply"), `step ${step}: ${error}`);
        await assertNothingLeft(exec);
      }
    },
  })),
  {
    name: "plain: applying what is in place changes nothing",
    async run(exec) {
      await apply(exec, PLANS["tproxy keep"]!, "plain");
      const counting = new CountingExec(exec);
      const [rules] = await apply(counting, PLANS["tproxy keep"]!, "plain");
      assertEquals(counting.changes, 0);
      await rules.revert();
      await assertNothingLeft(exec);
    },
  },
  {
    name: "plain: another plan replaces what the one before left",
    async run(exec) {
      await apply(exec, PLANS["tproxy keep"]!, "plain");
      const [rules, host] = await apply(exec, PLANS["tproxy"]!, "plain");
      assertEquals(await verifyPlan(planForHost(PLANS["tproxy"]!, host), exec), []);
      await rules.revert();
      await assertNothingLeft(exec);
    },
  },
  {
    name: "verify finds an emptied chain and a removed rule",
    async run(exec) {
      const plan = PLANS["tproxy"]!;
      const [, host] = await apply(exec, plan, "plain");
      await exec.run(["nft", "flush", "chain", "inet", "pellucid", "tproxy_prerouting"]);
      const rule = "fwmark 0x1000000/0x3000000 iif lan0 lookup 7873 pref 90 protocol 173";
      await exec.run(`ip -4 rule del ${rule}`.split(" "));
      await exec.run(`ip -4 rule add ${rule.replace("lan0", "wan0")}`.split(" "));
      const found = (await verifyPlan(planForHost(plan, host), exec)).map(({ message }) => message);
      assertStringIncludes(found.join("\n"), 'rule "first: ');
      assertStringIncludes(found.join("\n"), `\`ip -4 rule add ${rule}\` is missing`);
      assertStringIncludes(
        found.join("\n"),
        "`ip -4 rule add fwmark 0x1000000/0x3000000 iif wan0 lookup 7873 pref 90 protocol 173` is not wanted",
      );
    },
  },
  {
    name: "cleanup removes all that is ours, whatever it is called, and nothing else",
    async run(exec) {
      await apply(exec, gatewayPlan({ tableName: "other_name", routeTable: 4711 }), "plain");
      await apply(exec, PLANS["tproxy"]!, "plain");
      await exec.run(["nft", "-f", "-"], { stdin: "table inet foreign {\n}\n" });
      const foreign = "ip -4 rule add fwmark 0x1/0x1 iif lan0 lookup 42 pref 42 protocol 42".split(" ");
      assertEquals((await exec.run(foreign)).code, 0);
      const { removed } = await cleanup(exec);
      assertEquals(removed.filter((line) => line.startsWith("table")).length, 2);
      assertEquals(removed.filter((line) => line.startsWith("rule")).length, 4);
      assertEquals(removed.filter((line) => line.startsWith("route")).length, 4);
      assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "table inet foreign\n");
      assertEquals((await exec.run(foreign)).code === 0, false);
    },
  },
  {
    name: "a table of ours that a live process holds is neither taken over nor cleaned up",
    async run(exec) {
      const [rules, host] = await apply(exec, PLANS["tproxy"]!, "owner");
      for (const hold of ["owner", "plain"] as const) {
        const error = await assertRejects(() => applyPlan(PLANS["tproxy"]!, { exec, host, hold }));
        assert(isRuleApplyError(error, "check"));
        assertStringIncludes(error.message, "belongs to a running process");
      }
      assertEquals(await cleanup(exec), { removed: [], inUse: ["table inet pellucid"] });
      assertEquals(await verifyPlan(planForHost(PLANS["tproxy"]!, host), exec), []);
      await rules.revert();
    },
  },
  {
    name: "a table of our name that is not ours is left alone",
    async run(exec) {
      await exec.run(["nft", "-f", "-"], { stdin: "table inet pellucid {\n}\n" });
      const error = await assertRejects(() => apply(exec, PLANS["tproxy"]!, "owner"));
      assert(isRuleApplyError(error, "check"));
      assertStringIncludes(error.message, "is not ours");
      assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "table inet pellucid\n");
    },
  },
  {
    name: "an interface that is not there is named",
    async run(exec) {
      const error = await assertRejects(() => apply(exec, gatewayPlan({ from: ["nosuch0"] }), "owner"));
      assert(isRuleApplyError(error, "check"));
      assertStringIncludes(error.message, "--from: no interface nosuch0");
      await assertNothingLeft(exec);
    },
  },
];
