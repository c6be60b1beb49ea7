/**
 * What applying, verifying and cleaning up must do on any host: nft's run on the fake (nft/apply_test.ts), and every
 * backend's on a real kernel (nft_apply_test.ts). Each case starts on a host of its own with interfaces lan0 and wan0.
 *
 * @module
 */
import {
  type AppliedRules,
  applyPlan,
  type Backend,
  type BackendName,
  cleanup,
  detectHost,
  type Difference,
  type Exec,
  type ExecResult,
  type ExecSession,
  type ExecWatch,
  type HostFacts,
  isRuleApplyError,
  openBackend,
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

/** For how long the rules are there: see ApplyOptions.keep. */
type Keep = "process" | "kept";

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
    const isTrial = argv.includes("--test") || argv[0] === "unshare";
    const changes = argv.includes("add") || argv.includes("del") || argv[1] === "-f" ||
      (argv[0]!.endsWith("-restore") && !isTrial);
    if (changes && this.changes++ === this.#failAt) return { code: 2, stdout: "", stderr: "injected" };
    return await this.#inner.run(argv, options);
  }

  open(argv: readonly string[]): ExecSession {
    const session = this.#inner.open(argv);
    const fails = this.changes++ === this.#failAt;
    return {
      // It ends before it has heard anything.
      exchange: async (line, isComplete, timeoutMs) => {
        if (fails) await session.close();
        return await session.exchange(line, isComplete, timeoutMs);
      },
      close: () => session.close(),
      ended: session.ended,
    };
  }

  watch(argv: readonly string[], onLine: (line: string) => void): ExecWatch {
    return this.#inner.watch(argv, onLine);
  }
}

/** Loads rules and then can read them no more, or refuses to load them. */
class BlindExec extends CountingExec {
  refuses = false;
  hasLoaded = false;

  override async run(argv: readonly string[], options?: { stdin?: string }): Promise<ExecResult> {
    const isSwitch = argv[1] === "-f"
      ? options?.stdin?.includes("flush table") === true
      : argv[0]!.endsWith("-restore") && !argv.includes("--test");
    if (isSwitch && this.refuses) return { code: 2, stdout: "", stderr: "injected" };
    const isRead = argv.includes("ruleset") || argv[0]!.endsWith("-save");
    if (isRead && this.hasLoaded) return { code: 2, stdout: "", stderr: "blind" };
    const result = await super.run(argv, options);
    if (isSwitch && result.code === 0) this.hasLoaded = true;
    return result;
  }
}

const PLANS: Readonly<Record<string, Plan>> = {
  tproxy: gatewayPlan(),
  "tproxy local": gatewayPlan({ local: true }),
  "tproxy keep": gatewayPlan({ source: "keep" }),
  redirect: gatewayPlan({ tcp: "redirect", local: true }),
  "redirect keep": gatewayPlan({ tcp: "redirect", source: "keep" }),
  udp: gatewayPlan({ udp: "tproxy" }),
  "udp keep local": gatewayPlan({ udp: "tproxy", udpWorkers: 2, source: "keep", local: true }),
  "udp alone, several workers": gatewayPlan({ tcp: "off", udp: "tproxy", udpWorkers: 16 }),
  "closed, udp": gatewayPlan({ udp: "tproxy", local: true, onProxyDown: "closed" }),
  "closed, redirect": gatewayPlan({ tcp: "redirect", onProxyDown: "closed" }),
};
const TPROXY = PLANS["tproxy"]!, KEEP = PLANS["tproxy keep"]!;

/** What differs from `plan` on this host, whoever's the rules are. */
export async function differencesFrom(
  plan: Plan,
  backend: BackendName,
  exec: Exec,
  phase?: "drain",
): Promise<Difference[]> {
  const host = await detectHost(exec);
  return await verifyPlan(planForHost(plan, host), reader(plan, backend, exec), exec, phase);
}

function reader({ intent: { tableName } }: Plan, backend: BackendName, exec: Exec): Backend {
  const life = { hold: "plain", by: null, sysctls: [], afterwards: "" } as const;
  return openBackend(backend, { ...life, exec, tableName, ipv6: true });
}

/**
 * All of them, for one backend.
 *
 * @param stride one step in so many is made to fail where every one could be: each takes a second where many
 * programs are started for it.
 */
export function applyCases(backend: BackendName, stride = 1): ApplyCase[] {
  const apply = async (exec: Exec, plan: Plan, keep: Keep): Promise<[AppliedRules, HostFacts]> => {
    const host = await detectHost(exec);
    return [await applyPlan(plan, { exec, host, backend, keep }), host];
  };
  const differences = (exec: Exec, plan: Plan, phase?: "drain") =>
    differencesFrom(plan, backend, exec, phase);
  const assertNothingLeft = async (exec: Exec) => {
    assertEquals((await exec.run(["nft", "list", "ruleset"])).stdout.includes("pellucid"), false);
    assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
  };
  const cases: ApplyCase[] = [
    ...Object.entries(PLANS).map(([name, plan]): ApplyCase => ({
      name: `${name}: apply, drain, revert`,
      async run(exec) {
        const [rules] = await apply(exec, plan, "process");
        const isOpen = plan.intent.onProxyDown === "open";
        assertEquals(rules.hold, backend === "nft" && isOpen ? "owner" : "plain");
        assertEquals(await differences(exec, plan), []);
        await rules.enterDrain();
        // What is to drop while we are gone has no phase in which it lets pass.
        assertEquals(await differences(exec, plan, isOpen ? "drain" : undefined), []);
        if (isOpen) assert((await differences(exec, plan)).length > 0);
        assertEquals((await rules.counters()).length, plan.chains.flatMap((chain) => chain.rules).length);
        assertEquals(await rules.revert(), isOpen ? "removed" : "left");
        if (!isOpen) assertEquals(await differences(exec, plan), []);
        assertEquals(await rules.revert({ force: true }), "removed");
        await assertNothingLeft(exec);
      },
    })),
    {
      name: "a failure at any step leaves nothing",
      async run(exec) {
        for (const keep of ["process", "kept"] as const) {
          const whole = new CountingExec(exec);
          const [rules, host] = await apply(whole, KEEP, keep);
          const steps = whole.changes;
          await rules.revert({ force: true });
          assert(steps >= 4, `${steps} steps`);
          for (let step = 0; step < steps; step += stride) {
            const failing = new CountingExec(exec, step);
            const error = await assertRejects(() => applyPlan(KEEP, { exec: failing, host, backend, keep }));
            assert(isRuleApplyError(error, "apply"), `${keep}, step ${step}: ${error}`);
            await assertNothingLeft(exec);
          }
        }
      },
    },
    {
      name: "a failure at any step leaves what a predecessor was to leave",
      async run(exec) {
        const [closed, other] = [
          gatewayPlan({ source: "keep", onProxyDown: "closed" }),
          gatewayPlan({ from: ["lan0", "wan0"], onProxyDown: "closed" }),
        ];
        // Where this process is seen to live, as on the fake, it holds what it has claimed, and is no predecessor.
        const isSeen = (await exec.run(["cat", `/proc/${Deno.pid}/stat`])).code === 0;
        const pairs = [["kept", KEEP, TPROXY], ["process", closed, other]] as const;
        for (const [keep, first, next] of isSeen ? pairs.slice(0, 1) : pairs) {
          const [previous, host] = await apply(exec, first, keep);
          const whole = new CountingExec(exec);
          await apply(whole, next, keep);
          assert(whole.changes >= 1, `${whole.changes} steps`);
          for (let step = 0; step < whole.changes; step += stride) {
            await apply(exec, first, keep);
            const failing = new CountingExec(exec, step);
            const error = await assertRejects(() => applyPlan(next, { exec: failing, host, backend, keep }));
            assert(isRuleApplyError(error, "apply"), `${keep}, step ${step}: ${error}`);
            const left = await differences(exec, first);
            if (left.length === 0) continue;
            // The new rules are there already, and what fails is the removal of an old route.
            const rest = await differences(exec, next);
            assert(
              rest.every(({ kind, message }) => kind === "route" && message.includes("not wanted")),
              left[0]!.message,
            );
          }
          for (const phase of ["the rules", "what was loaded cannot be read"] as const) {
            await apply(exec, first, keep);
            const blind = new BlindExec(exec);
            if (phase === "the rules") blind.refuses = true;
            const error = await assertRejects(() => applyPlan(next, { exec: blind, host, backend, keep }));
            assert(isRuleApplyError(error), `${error}`);
            assertEquals(await differences(exec, blind.hasLoaded ? next : first), [], `${keep}: ${phase}`);
            assertEquals(blind.hasLoaded, phase !== "the rules");
          }
          await previous.revert({ force: true });
          await assertNothingLeft(exec);
        }
      },
    },
    {
      name: "kept: applying what is in place changes nothing",
      async run(exec) {
        await apply(exec, KEEP, "kept");
        const counting = new CountingExec(exec);
        const [rules] = await apply(counting, KEEP, "kept");
        assertEquals(counting.changes, 0);
        await rules.revert({ force: true });
        await assertNothingLeft(exec);
      },
    },
    {
      name: "another plan replaces what is there, also from within",
      async run(exec) {
        await apply(exec, KEEP, "kept");
        const [rules] = await apply(exec, TPROXY, "process");
        assertEquals(rules.replacedKept, true);
        assertEquals(await differences(exec, TPROXY), []);
        for (const plan of [KEEP, gatewayPlan({ from: ["lan0", "wan0"] }), PLANS["redirect"]!, TPROXY]) {
          await rules.replace(plan);
          assertEquals(await differences(exec, plan), []);
        }
        await rules.revert();
        await assertNothingLeft(exec);
      },
    },
    {
      name: "heal puts back routes, rules and tables, and says what was missing",
      async run(exec) {
        const [rules] = await apply(exec, PLANS["closed, udp"]!, "process");
        assertEquals(await rules.heal(), []);
        const rule = "fwmark 0x1000000/0x3000000 iif lan0 lookup 7873 pref 90 protocol 173";
        await exec.run(`ip -4 rule del ${rule}`.split(" "));
        await exec.run(`ip -4 rule add ${rule.replace("lan0", "wan0")}`.split(" "));
        await reader(TPROXY, backend, exec).remove();
        if (backend === "nft") await exec.run(["nft", "delete", "table", "inet", "pellucid"]);
        const found = await rules.heal();
        const text = found.map(({ message }) => message).join("\n");
        assertStringIncludes(text, `\`ip -4 rule add ${rule}\` is missing`);
        assertStringIncludes(text, `iif wan0 lookup 7873 pref 90 protocol 173\` is not wanted`);
        assertStringIncludes(text, "missing");
        assert(found.some(({ kind }) => kind === "table"), text);
        assertEquals(await rules.heal(), []);
        await rules.revert({ force: true });
        await assertNothingLeft(exec);
      },
    },
    {
      name: "cleanup removes all that is ours, whatever it is called, and nothing else",
      async run(exec) {
        await apply(exec, gatewayPlan({ tableName: "other", routeTable: 4711 }), "kept");
        await apply(exec, TPROXY, "kept");
        await exec.run(["nft", "-f", "-"], { stdin: "table inet foreign {\n}\n" });
        const foreign = "ip -4 rule add fwmark 0x1/0x1 iif lan0 lookup 42 pref 42 protocol 42".split(" ");
        assertEquals((await exec.run(foreign)).code, 0);
        const { removed } = await cleanup(exec);
        assertEquals(removed.filter((line) => /^(table|iptables)/.test(line)).length, 2, removed.join("\n"));
        assertEquals(removed.filter((line) => line.startsWith("rule")).length, 4);
        assertEquals(removed.filter((line) => line.startsWith("route")).length, 4);
        assertStringIncludes((await exec.run(["nft", "list", "tables"])).stdout, "table inet foreign\n");
        assertEquals((await exec.run(foreign)).code === 0, false);
        await assertNothingLeft(exec);
      },
    },
    {
      name: "an interface that is not there is named",
      async run(exec) {
        const error = await assertRejects(() => apply(exec, gatewayPlan({ from: ["nosuch0"] }), "process"));
        assert(isRuleApplyError(error, "check"));
        assertStringIncludes(error.message, "--from: no interface nosuch0");
        await assertNothingLeft(exec);
      },
    },
  ];
  return backend === "nft" ? [...cases, ...NFT_CASES] : cases;
}

const NFT_CASES: readonly ApplyCase[] = [
  {
    // iptables-nft sends a transaction in one message, which without privilege on the machine is too long for these.
    name: "64 workers: apply, revert",
    async run(exec) {
      const host = await detectHost(exec);
      const plan = gatewayPlan({ udp: "tproxy", udpWorkers: 64 });
      const rules = await applyPlan(plan, { exec, host, backend: "nft", keep: "process" });
      assertEquals(await rules.heal(), []);
      await rules.revert();
      assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
    },
  },
  {
    name: "a table of ours that a live process holds is neither taken over nor cleaned up",
    async run(exec) {
      const host = await detectHost(exec);
      const options = { exec, host, backend: "nft", keep: "process" } as const;
      const rules = await applyPlan(TPROXY, options);
      for (const keep of ["process", "kept"] as const) {
        const error = await assertRejects(() => applyPlan(TPROXY, { ...options, keep }));
        assert(isRuleApplyError(error, "check"));
        assertEquals(error.message, "rules check: table inet pellucid belongs to a running process");
      }
      assertEquals(await cleanup(exec), { removed: [], inUse: ["table inet pellucid"], left: [] });
      assertEquals(await rules.heal(), []);
      await rules.revert();
    },
  },
  {
    name: "a table of our name that is not ours is left alone",
    async run(exec) {
      await exec.run(["nft", "-f", "-"], { stdin: "table inet pellucid {\n}\n" });
      const host = await detectHost(exec);
      const error = await assertRejects(() =>
        applyPlan(TPROXY, { exec, host, backend: "nft", keep: "process" })
      );
      assert(isRuleApplyError(error), `${error}`);
      assertStringIncludes(error.message, "is not ours");
      assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "table inet pellucid\n");
      assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
    },
  },
];
