/**
 * Composes the plan for an intent. Pure: asks no host, checks nothing (check_plan.ts does).
 *
 * The principles, which every rule below serves:
 * - A flow is taken over at its first packet or never. What existed before us, and the answers of servers to
 *   connections from outside, have no first packet any more and so stay as they are.
 * - Later packets are recognised by what the first one left behind: a transparent socket (TPROXY), the
 *   connection mark (this host's own traffic), the NAT mapping (REDIRECT).
 * - What is addressed to this host itself is never taken.
 *
 * Each kind of chain has a file of its own: build_tproxy.ts, build_redirect.ts, build_udp.ts, build_keep.ts,
 * build_sidecar.ts, and build_selectors.ts for which first packets are taken.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { answerInterfaces, upstreamChains } from "./build_keep.ts";
import { redirectChains } from "./build_redirect.ts";
import { SetCollection } from "./build_sets.ts";
import { sidecarChains, sidecarSysctls } from "./build_sidecar.ts";
import { tproxyChains } from "./build_tproxy.ts";
import { udpInnerChains, udpUntrackedChain } from "./build_udp.ts";
import type { InterceptIntent } from "./intent.ts";
import { LOOPBACK } from "./matches.ts";
import type { Chain, IpRule, LocalRoute, Plan } from "./plan.ts";

const FAMILIES: readonly IpFamily[] = [4, 6];

/** The plan that carries out `intent`; empty when TCP and UDP are off or nothing is to be intercepted. */
export function buildPlan(intent: InterceptIntent): Plan {
  const sets = new SetCollection();
  const chains = intent.sidecar === null
    ? hostChains(intent, sets)
    : sidecarChains(intent, intent.sidecar, sets);
  const marked = chains.length === 0 ? [] : markedInterfaces(intent);
  const families = marked.length > 0 ? FAMILIES : [];
  return {
    intent,
    chains,
    sets: sets.sets,
    ipRules: families.flatMap((family) => marked.map((incoming) => ipRule(intent, family, incoming))),
    routes: families.map((family): LocalRoute => ({
      family,
      table: intent.routeTable,
      protocol: intent.routeProtocol,
    })),
    sysctls: chains.length > 0 && intent.sidecar !== null ? sidecarSysctls(intent, intent.sidecar) : [],
  };
}

function hostChains(intent: InterceptIntent, sets: SetCollection): Chain[] {
  const chains: Chain[] = [];
  if (intent.from.length === 0 && !intent.local) return chains;
  if (intent.udp === "tproxy") chains.push(udpUntrackedChain(intent));
  if (keepsClients(intent)) chains.push(...upstreamChains(intent));
  if (hasTproxy(intent)) chains.push(...tproxyChains(intent, sets));
  if (intent.udp === "tproxy") chains.push(...udpInnerChains(intent, sets));
  if (intent.tcp === "redirect") chains.push(...redirectChains(intent, sets));
  return chains;
}

/**
 * The address can be kept for this host's own programs too, but not the port: the program holds that tuple. Then
 * nothing is ambiguous and no answer is addressed to another host, so this is for forwarded traffic.
 */
function keepsClients({ tcp, udp, source, from }: InterceptIntent): boolean {
  return (tcp !== "off" || udp !== "off") && source === "keep" && from.length > 0;
}

function hasTproxy({ tcp, udp }: InterceptIntent): boolean {
  return tcp === "tproxy" || udp === "tproxy";
}

/** Interfaces by which packets come in that a rule marks and that are to be routed here. */
function markedInterfaces(intent: InterceptIntent): string[] {
  // What a sidecar marks is addressed to the pod, but for what it sends itself.
  if (intent.sidecar !== null) return intent.sidecar.inbound === "tproxy" ? [LOOPBACK] : [];
  const marked = new Set<string>();
  if (hasTproxy(intent)) intent.from.forEach((name) => marked.add(name));
  if (hasTproxy(intent) && intent.local) marked.add(LOOPBACK);
  if (keepsClients(intent)) answerInterfaces(intent).forEach((name) => marked.add(name));
  return [...marked];
}

function ipRule({ marks, ...intent }: InterceptIntent, family: IpFamily, incoming: string): IpRule {
  // The kernel asks the rules for lo also when it checks, under src_valid_mark=1, the source of a marked packet
  // that came in by another interface, and drops it if they answer: so this one asks for a bit that such a packet
  // lacks. For the same reason there is a rule for each interface, and none for all.
  const bit = incoming === LOOPBACK ? marks.fromHere : 0;
  return {
    family,
    incoming,
    mark: marks.intercept + bit,
    mask: marks.mask + bit,
    table: intent.routeTable,
    preference: intent.rulePreference,
    protocol: intent.routeProtocol,
  };
}
