/**
 * The cases of tests/golden as plans, in both policies.
 *
 * @module
 */
import { buildPlan } from "../../nft/build_plan.ts";
import type { InterceptIntent } from "../../nft/intent.ts";
import type { Filter, IdRange } from "../../net/mod.ts";
import type { Plan } from "../../nft/plan.ts";
import { type IntentChanges, intentWith } from "../fixtures/intents.ts";

/** A folder of tests/golden. */
export interface ParityCase {
  readonly name: string;
  readonly open: Plan;
  readonly closed: Plan;
}

const FOLDER = new URL("../golden/", import.meta.url);

/** Cases of selectors that cannot be tried where only uid 0 is mapped and no cgroup is ours to make. */
export const LEFT_OUT: readonly string[] = ["host_cgroup"];

/** All others, by name. */
export async function readCases(): Promise<ParityCase[]> {
  const names = [...Deno.readDirSync(FOLDER)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
    .filter((name) => !LEFT_OUT.includes(name));
  return await Promise.all(names.sort().map(readCase));
}

async function readCase(name: string): Promise<ParityCase> {
  const changes: IntentChanges = JSON.parse(
    await Deno.readTextFile(new URL(`${name}/intent.json`, FOLDER)),
  );
  const plan = (onProxyDown: "open" | "closed") =>
    buildPlan(withMappedIds(intentWith({ ...changes, onProxyDown })));
  return { name, open: plan("open"), closed: plan("closed") };
}

/**
 * The lab has one user and one group, and iptables takes no others there: a range becomes its part of them. No packet
 * could belong to the others.
 */
function withMappedIds(intent: InterceptIntent): InterceptIntent {
  const { select, policy, sidecar } = intent;
  const filter = ({ include, exclude }: Filter<IdRange>): Filter<IdRange> => {
    if (include.length > 0 && mapped(include).length === 0) {
      throw new RangeError("case: it takes only users or groups that the lab does not have");
    }
    return { include: mapped(include), exclude: mapped(exclude) };
  };
  return {
    ...intent,
    select: { ...select, uids: filter(select.uids), gids: filter(select.gids) },
    policy: policy.map((verdict) => ({ ...verdict, uids: verdict.uids && mapped(verdict.uids) })),
    sidecar: sidecar === null
      ? null
      : { ...sidecar, proxyUids: mapped(sidecar.proxyUids), proxyGids: mapped(sidecar.proxyGids) },
  };
}

function mapped(ranges: readonly IdRange[]): IdRange[] {
  return ranges.some(({ first }) => first === 0) ? [{ first: 0, last: 0 }] : [];
}
