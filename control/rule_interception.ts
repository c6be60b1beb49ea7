/**
 * Interception by rules of our own: chooses the tool, puts the rules in place, has them kept there, takes them away.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import {
  type AppliedRules,
  applyPlan,
  type BackendChoice,
  type BackendName,
  chooseBackend,
  detectHost,
  type Exec,
  findBackendInPlace,
  HostExec,
  type HostFacts,
  isRuleApplyError,
  missingAddresses,
  type Plan,
} from "../nft/mod.ts";
import type { EventSink } from "./events.ts";
import type { Interception, InterceptionChange } from "./interception.ts";
import { describeTraffic } from "./plan_for.ts";
import { explainRuleFailure, requireHost } from "./rule_failure.ts";
import { RuleGuard } from "./rule_guard.ts";
import { RulePlanner } from "./rule_planner.ts";

/** What has been found out before anything is changed. */
interface Prepared {
  readonly plan: Plan;
  readonly host: HostFacts;
  readonly choice: BackendChoice;
}

/** Rules by one of the backends, and routes by `ip`. */
export class RuleInterception implements Interception {
  #config: RunConfig;
  readonly #emit: EventSink;
  readonly #exec: Exec;
  readonly #planner: RulePlanner;
  #prepared: Prepared | undefined;
  #rules: AppliedRules | undefined;
  #guard: RuleGuard | undefined;

  constructor(config: RunConfig, emit: EventSink, exec: Exec = new HostExec()) {
    this.#config = config;
    this.#emit = emit;
    this.#exec = exec;
    this.#planner = new RulePlanner(config);
  }

  get summary(): string {
    const traffic = describeTraffic(this.#config);
    if (this.#prepared === undefined) return traffic;
    const { plan, choice } = this.#prepared;
    return `${traffic}, by ${describeRules(choice.backend, plan.intent.tableName)}`;
  }

  async prepare(): Promise<void> {
    const plan = await this.#planner.plan();
    const host = await detectHost(this.#exec);
    const choice = await choose(this.#config, plan, host, this.#exec);
    if (this.#config.rules === "auto") this.#emit({ event: "rules-chosen", ...choice });
    requireHost(plan, host, choice.backend);
    for (const { code, message, hint, blocks, of } of [...host.findings, ...missingAddresses(plan, host)]) {
      if (blocks.length > 0 || (of !== undefined && of !== choice.backend)) continue;
      this.#emit({ event: "warning", code, message: `host: ${message}`, hint });
    }
    this.#prepared = { plan, host, choice };
  }

  async apply(): Promise<void> {
    if (this.#prepared === undefined) throw new Error("interception: apply called before prepare");
    const { plan, host, choice: { backend } } = this.#prepared;
    const exec = this.#exec;
    this.#rules = await explained(applyPlan(plan, { exec, host, backend, keep: "process" }));
    if (this.#rules.replacedKept) {
      this.#emit({
        event: "warning",
        code: "kept-rules-replaced",
        message: "the rules that `rules apply` left are replaced, and will be gone after the stop",
        hint: "--rules none keeps them and works with them",
      });
    }
    this.#guard = new RuleGuard({
      rules: this.#rules,
      planner: this.#planner,
      exec,
      emit: this.#emit,
      routeTable: plan.intent.routeTable,
      isTold: backend !== "iptables-legacy" && host.nftVersion !== undefined,
    });
  }

  async prepareChange(config: RunConfig): Promise<InterceptionChange> {
    const guard = this.#guard, prepared = this.#prepared, rules = this.#rules;
    if (guard === undefined || prepared === undefined || rules === undefined) {
      throw new Error("interception: prepareChange called before apply");
    }
    const planner = new RulePlanner(config);
    const plan = await planner.plan();
    const { host, choice } = prepared;
    requireHost(plan, host, choice.backend);
    const differs = !planner.hasPlanOf(guard.planner);
    // Before anybody is told of anything.
    if (differs) await explained(rules.check(plan));
    return {
      differs,
      commit: async () => {
        try {
          await guard.follow(planner, plan);
        } catch (error) {
          if (!isRuleApplyError(error, "revert")) throw explainRuleFailure(error);
          this.#emit({
            event: "warning",
            code: "old-routes-left",
            message: error.message,
            hint: "they are looked for again within seconds",
          });
        }
        this.#config = config;
        this.#prepared = { plan, host, choice };
      },
    };
  }

  async enterDrain(): Promise<void> {
    this.#guard?.enterDrain();
    await this.#rules?.enterDrain();
  }

  async revert(): Promise<void> {
    await this.#guard?.close();
    if (await this.#rules?.revert() !== "left") return;
    this.#emit({
      event: "rules-left",
      message: "the rules stay, and drop what would have been intercepted, until the next start",
      hint: "`pellucid rules cleanup` removes them",
    });
  }
}

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explainRuleFailure(error);
  }
}

/** The tool for the rules of `config`: the one that is named, or the one that suits the host. */
export async function choose(
  config: RunConfig,
  plan: Plan,
  host: HostFacts,
  exec: Exec,
): Promise<BackendChoice> {
  const { rules } = config;
  if (rules === "auto" || rules === "none") return await chooseBackend(plan, host, exec);
  return { backend: rules, reason: `${rules}: asked for` };
}

/** The same for who works on rules that are there: where none is named, the tool that they were made by. */
export async function chooseInPlace(
  config: RunConfig,
  plan: Plan,
  host: HostFacts,
  exec: Exec,
): Promise<BackendChoice> {
  const isOpen = config.rules === "auto" || config.rules === "none";
  return (isOpen ? await findBackendInPlace(plan, exec) : undefined) ??
    await choose(config, plan, host, exec);
}

/** Rules of a backend as people find them on the host. */
export function describeRules(backend: BackendName, tableName: string): string {
  return backend === "nft" ? `nft table inet ${tableName}` : `${backend} chains ${tableName}_*`;
}
