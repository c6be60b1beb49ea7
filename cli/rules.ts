/**
 * `rules render|apply|verify|counters|cleanup`: the kernel's side by hand, for a `run --rules none` or for a look.
 *
 * @module
 */
import {
  choose,
  chooseInPlace,
  describeRules,
  explainRuleFailure,
  planFor,
  requireHost,
  StartError,
} from "../control/mod.ts";
import {
  applyPlan,
  type Backend,
  type BackendName,
  cleanup,
  detectHost,
  type Exec,
  HostExec,
  type HostFacts,
  isRuleApplyError,
  type OldSysctl,
  openBackend,
  type Plan,
  planForHost,
  type RuleCounter,
  verifyPlan,
} from "../nft/mod.ts";
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";
import type { FlagValues } from "./flag.ts";
import { interceptionConfig, type InterceptionValues } from "./interception_flags.ts";
import type { CLEANUP_FLAGS, COUNTERS_FLAGS, RenderValues } from "./rules_flags.ts";
import { notedByScript, renderRouteText, renderScript } from "./rules_script.ts";

/** The plan, and the tool for it, on this host. */
interface Subject {
  readonly plan: Plan;
  readonly host: HostFacts;
  readonly exec: Exec;
  readonly backend: BackendName;
}

/** Prints what would be run; touches nothing. */
export async function render(values: RenderValues): Promise<ExitCode> {
  const { format } = values;
  if (format === "script") console.log(await scriptFor(values));
  else {
    const plan = await planFor(interceptionConfig(values));
    if (format === "json") console.log(JSON.stringify(plan, null, 2));
    else if (format === "route") console.log(renderRouteText(plan));
    else console.log(keptBackend(textBackend(values), plan, new HostExec(), true).render(plan, "intercept"));
  }
  return EXIT.ok;
}

/** Both flavours of iptables have one format. */
function textBackend({ format, rules }: RenderValues): BackendName {
  return format === "iptables" && rules === "iptables-legacy" ? rules : format === "nft" ? "nft" : "iptables";
}

/** The script for these flags, by the tool that they name or that suits the host. */
export async function scriptFor(values: InterceptionValues): Promise<string> {
  const { plan, backend, exec, host } = await inspect(values, choose);
  const here = planForHost(plan, host);
  return renderScript(here, keptBackend(backend, plan, exec, host.ipv6, notedByScript(here)));
}

/** Applies the plan so that it outlives this process. */
export async function apply(values: InterceptionValues): Promise<ExitCode> {
  const { plan, host, exec, backend } = await inspect(values, chooseInPlace);
  requireHost(plan, host, backend);
  await explained(applyPlan(plan, { exec, host, backend, keep: "kept" }));
  console.log(`${describeRules(backend, plan.intent.tableName)} and routes are in place`);
  return EXIT.ok;
}

/** Prints what differs, if anything. */
export async function verify(values: InterceptionValues): Promise<ExitCode> {
  const { plan, host, exec, backend } = await inspect(values, chooseInPlace);
  requireHost(plan, host, backend);
  const tool = keptBackend(backend, plan, exec, host.ipv6);
  const differences = await explained(verifyPlan(planForHost(plan, host), tool, exec));
  for (const { kind, message } of differences) console.log(`${kind}: ${message}`);
  if (differences.length > 0) {
    console.error(`\`${PROGRAM} rules apply\` with the same flags puts that right; a run does so by itself`);
    return EXIT.failure;
  }
  console.log("everything is in place");
  return EXIT.ok;
}

/** Prints what each rule has met. */
export async function counters(
  values: InterceptionValues & FlagValues<typeof COUNTERS_FLAGS>,
): Promise<ExitCode> {
  const { plan, host, exec, backend } = await inspect(values, chooseInPlace);
  const here = planForHost(plan, host);
  for (const counter of await countersOf(keptBackend(backend, plan, exec, host.ipv6), here)) {
    const { chain, rule, packets, bytes } = counter;
    console.log(values.json ? JSON.stringify(counter) : `${packets}\t${bytes}\t${chain}\t${rule}`);
  }
  return EXIT.ok;
}

async function countersOf(backend: Backend, plan: Plan): Promise<RuleCounter[]> {
  try {
    return await backend.counters(plan);
  } catch (error) {
    // What the tool refuses is another matter than rules that are not there.
    if (!isRuleApplyError(error, "verify") || error.stderr !== "") throw explainRuleFailure(error);
    throw new StartError(
      "rules-failed",
      error.message,
      `\`${PROGRAM} rules apply\` or a \`${PROGRAM} run\` with the same flags puts them there`,
      { cause: error },
    );
  }
}

/** Removes what is ours. */
export async function cleanUp(values: FlagValues<typeof CLEANUP_FLAGS>): Promise<ExitCode> {
  const ifOpen = values["if-open"];
  const { removed, inUse, left } = await explained(cleanup(new HostExec(), { ifOpen }));
  for (const what of removed) console.log(`removed: ${what}`);
  for (const what of inUse) {
    console.log(`in use by a running ${PROGRAM}: ${what}; nothing was removed: stop that one first`);
  }
  if (inUse.length > 0) return EXIT.failure;
  for (const what of left) console.log(`left, with its routes, to be there without a proxy: ${what}`);
  if (left.length === 0 && removed.length === 0) console.log("nothing of ours was found");
  return EXIT.ok;
}

async function inspect(values: InterceptionValues, chooseTool: typeof choose): Promise<Subject> {
  const config = interceptionConfig(values);
  const plan = await planFor(config);
  const exec = new HostExec();
  const host = await detectHost(exec);
  const { backend } = await chooseTool(config, plan, host, exec);
  return { plan, host, exec, backend };
}

/** For rules that belong to no process. */
function keptBackend(
  name: BackendName,
  plan: Plan,
  exec: Exec,
  ipv6: boolean,
  sysctls: readonly OldSysctl[] = [],
): Backend {
  const { tableName } = plan.intent;
  return openBackend(name, {
    exec,
    tableName,
    hold: "plain",
    by: null,
    sysctls,
    afterwards: "",
    ipv6,
  });
}

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explainRuleFailure(error);
  }
}
