/**
 * TCP over REDIRECT: a NAT rule rewrites the destination to our port, and conntrack remembers the original one.
 *
 * @module
 */
import { selection } from "./build_selectors.ts";
import type { SetCollection } from "./build_sets.ts";
import type { InterceptIntent } from "./intent.ts";
import { always, first, foreign, meantHere, protocol, sentByUs, toPorts } from "./matches.ts";
import type { BaseChain, Chain, Rule } from "./plan.ts";

/** Base chains for other hosts' and this host's own traffic, and what they lead to. */
export function redirectChains(intent: InterceptIntent, sets: SetCollection): Chain[] {
  const take = [redirectTake(intent.port)];
  const request = { intent, sets, protocol: "tcp", take } as const;
  const chains: Chain[] = [];
  const inner: Chain[] = [];
  if (intent.from.length > 0) {
    chains.push({
      name: "redirect_in",
      type: "nat",
      hook: "prerouting",
      priority: "dstnat",
      interfaces: intent.from,
      why: "Traffic of other hosts.",
      rules: redirectRules("tcp_in_new"),
    });
    inner.push(...selection({ ...request, name: "tcp_in", way: "in", spared: meantHere() }).chains);
  }
  if (intent.local) {
    chains.push({
      name: "redirect_out",
      type: "nat",
      hook: "output",
      priority: "dstnat",
      interfaces: "any",
      why: "This host's own traffic.",
      rules: [...sentByUs(intent, "intercept"), ...redirectRules("tcp_out_new")],
    });
    const spared = [...foreign(intent, "intercept"), ...meantHere()];
    inner.push(...selection({ ...request, name: "tcp_out", way: "out", spared }).chains);
  }
  return [
    ...chains,
    ...inner,
    ...(intent.onProxyDown === "closed" ? [closedChain({ tcp: [intent.port] })] : []),
  ];
}

/** What takes a chosen SYN. */
export function redirectTake(port: number): Rule {
  return first(
    "take",
    [protocol("tcp")],
    { kind: "redirect", port },
    "to the listener; conntrack remembers where from",
  );
}

/** The rules of a nat chain that sends new connections to `entry`. */
export function redirectRules(entry: string): Rule[] {
  return [
    // Conntrack shows this chain a connection's first packet only, but takes one it meets half-way for new.
    first("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: entry }, "a new connection"),
    // Stays while draining: the kernel translates the packets of open connections only while there is some nat
    // chain, and tracks connections only while some rule asks for one.
    always(
      "open",
      [{ kind: "flowOriginal" }],
      { kind: "pass" },
      "open connections are translated only while a rule here asks conntrack",
    ),
  ];
}

/** Loses what was rewritten to one of our ports while nobody listens there: the kernel would refuse it. */
export function closedChain(
  ports: { readonly tcp: readonly number[]; readonly udp?: readonly number[] },
): BaseChain {
  const rules = (["tcp", "udp"] as const).flatMap((name): Rule[] => {
    const ours = ports[name] ?? [];
    if (ours.length === 0) return [];
    const matches = [
      toPorts(name, ours.toSorted((a, b) => a - b).map((port) => ({ first: port, last: port }))),
      { kind: "flowRedirected" } as const,
    ];
    return [
      always(
        `served-${name}`,
        [...matches, { kind: "socket", property: "any" }],
        { kind: "pass" },
        "there is a socket for it",
      ),
      always(`closed-${name}`, matches, { kind: "drop" }, "there is no listener"),
    ];
  });
  return {
    name: "redirect_closed",
    type: "filter",
    hook: "input",
    priority: "filter",
    interfaces: "any",
    why: "What was rewritten to our ports, while no proxy listens there.",
    rules,
  };
}
