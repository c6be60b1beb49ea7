/**
 * The interfaces, and what their cards do to packets before a rule meets them.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { COMMAND_MISSING } from "../nft/exec.ts";
import type { Ask, Host } from "./host.ts";

/** An interface. */
export interface LinkFact {
  readonly name: string;
  /** `bridge`, `veth`, `vlan`…; empty for a card. */
  readonly kind: string;
  readonly isUp: boolean;
  /** The bridge or bond that it is a port of. */
  readonly master: string | undefined;
  readonly families: readonly IpFamily[];
  /** Offloads as ethtool has them, `on` or `off`; undefined where there is no ethtool. */
  readonly offloads: ReadonlyMap<string, string> | undefined;
}

/** As far as needed of one element of `ip -j -d addr show`. */
interface LinkObject {
  readonly ifname: string;
  readonly flags?: readonly string[];
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly { readonly family?: string }[];
}

/** All of them, lo among them. */
export async function readLinks(
  host: Host,
  ask: Ask,
): Promise<LinkFact[]> {
  const text = await ask("interfaces", ["ip", "-j", "-d", "addr", "show"]);
  const objects: LinkObject[] = text.trim() === "" ? [] : JSON.parse(text);
  return await Promise.all(
    objects.filter(({ ifname }) => typeof ifname === "string").map(async (link) => ({
      name: link.ifname,
      kind: link.linkinfo?.info_kind ?? "",
      isUp: link.flags?.includes("UP") ?? false,
      master: link.master,
      families: familiesOf(link),
      offloads: await readOffloads(host, link),
    })),
  );
}

function familiesOf(link: LinkObject): IpFamily[] {
  const found = new Set((link.addr_info ?? []).map(({ family }): IpFamily => family === "inet6" ? 6 : 4));
  return [...found].sort();
}

async function readOffloads(host: Host, link: LinkObject): Promise<ReadonlyMap<string, string> | undefined> {
  // What is no card is told by its kind; only a card's settings are worth a finding.
  if (link.ifname === "lo" || link.linkinfo?.info_kind !== undefined) return new Map();
  const { code, stdout } = await host.run(["ethtool", "-k", link.ifname]);
  if (code === COMMAND_MISSING) return undefined;
  return new Map([...stdout.matchAll(/^([\w-]+): (on|off)/gm)].map(([, name, state]) => [name!, state!]));
}
