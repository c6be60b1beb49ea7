/**
 * A lab for an example of docs/: its interfaces and addresses are those that the example's file names, so that the file
 * is run as it is there.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import {
  type ClientResult,
  Lab,
  type LabHost,
  type LabServer,
  type LinkSpec,
  type Topology,
} from "../lab/mod.ts";
import { endpoint } from "./datagram_site.ts";
import { eventually, kernelState, ProxyRun, type ProxyRunOptions } from "./proxy_run.ts";

const WAN = {
  router: { v4: "198.19.0.1", v6: "2001:db8:ffff::1" },
  internet: { v4: "198.19.0.2", v6: "2001:db8:ffff::2" },
};
/** Bytes that a connection carries. */
export const SENT = 1000;

/** An address in each family. */
export interface Pair {
  readonly v4: string;
  readonly v6: string;
}

/** A host on an interface of its own of the router. */
export interface Neighbour {
  readonly name: string;
  /** As the router calls the link. */
  readonly interface: string;
}

/** The addresses of neighbour number `index`, and those of the router towards it. */
export function addressesOf(index: number): Pair & { readonly router: Pair } {
  const own = (host: number) => ({ v4: `198.18.${index}.${host}`, v6: `2001:db8:1${index}::${host}` });
  return { ...own(2), router: own(1) };
}

/** As the router is seen from the internet. */
export const ROUTER: Pair = WAN.router;

/** Neighbours behind `router`, and the host `internet` that has all of `addresses`. */
function topology(neighbours: readonly Neighbour[], addresses: readonly string[]): Topology {
  const hosts: Record<string, Topology["hosts"][string]> = {
    router: { forwarding: true, routes: defaults(WAN.internet) },
    internet: {
      addresses,
      forwarding: true,
      routes: [{ to: "198.18.0.0/16", via: WAN.router.v4 }, { to: "2001:db8:10::/44", via: WAN.router.v6 }],
    },
  };
  const links: LinkSpec[] = [link("router", "wan0", WAN.router, "internet", "eth0", WAN.internet)];
  for (const [index, { name, interface: link0 }] of neighbours.entries()) {
    const { router, ...own } = addressesOf(index);
    hosts[name] = { routes: defaults(router) };
    links.push(link(name, "eth0", own, "router", link0, router));
  }
  return { hosts, links };
}

function defaults({ v4, v6 }: Pair) {
  return [{ to: "default", via: v4 }, { to: "default", via: v6 }];
}

function link(host: string, at: string, own: Pair, other: string, otherAt: string, others: Pair): LinkSpec {
  const end = (host: string, name: string, { v4, v6 }: Pair) => ({
    host,
    interface: name,
    addresses: [`${v4}/24`, `${v6}/64`],
  });
  return { ends: [end(host, at, own), end(other, otherAt, others)] };
}

/** What a test wants of a lab. */
export interface ExampleOptions extends ProxyRunOptions {
  readonly neighbours: readonly Neighbour[];
  /** Of the internet host. */
  readonly addresses: readonly string[];
  /** Who runs the example. */
  readonly on: string;
  /** What is to be looked at when it has ended. */
  readonly afterwards?: (lab: Lab) => Promise<void>;
  /** The lines that cannot be in a lab as they are in the file, and what takes their place. */
  readonly patches?: Readonly<Record<string, string>>;
}

/**
 * A lab for docs/examples/`name`.toml, which `test` starts when the lab is as it is to be. Looks that nothing of it is left
 * behind.
 */
export async function runExample(
  name: string,
  options: ExampleOptions,
  test: (lab: Lab, start: () => Promise<ProxyRun>) => Promise<void>,
): Promise<void> {
  await using lab = await Lab.start(topology(options.neighbours, options.addresses));
  const host = lab.host(options.on);
  const before = await kernelState(host);
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  try {
    await Deno.writeTextFile(file, await patched(name, options.patches ?? {}));
    let proxy: ProxyRun | undefined;
    await test(lab, async () => proxy = await ProxyRun.start(host, ["--flows", "--config", file], options));
    const { tcpOpenNow, udpSessionsNow } = await proxy!.stopByForce();
    assertEquals([tcpOpenNow, udpSessionsNow], [0, 0]);
  } finally {
    await Deno.remove(file);
  }
  assertEquals(await kernelState(host), before);
  await options.afterwards?.(lab);
}

async function patched(name: string, patches: Readonly<Record<string, string>>): Promise<string> {
  let text = await Deno.readTextFile(new URL(`../../docs/examples/${name}.toml`, import.meta.url));
  for (const [line, instead] of Object.entries(patches)) {
    assertEquals(text.split(line).length, 2, `${name}.toml has it once: ${line}`);
    text = text.replace(line, instead);
  }
  return text;
}

/** Waits until so many TCP flows have ended. @returns how each left: `192.0.2.1:80 by direct`, sorted. */
export async function waysOfTcp(proxy: ProxyRun, count: number): Promise<string[]> {
  const flows = () => proxy.logged("flow").filter(({ proto }) => proto === "tcp");
  await eventually(`${count} flows`, () => Promise.resolve(flows().length >= count), 5_000);
  return flows().map(({ destination, upstream }) => `${destination} by ${upstream}`).toSorted();
}

/** The two ends of a connection, as they are seen from where they are. */
export interface Ends {
  /** The client's endpoint. */
  readonly own: string;
  /** Whom the server has seen. */
  readonly peer: string;
}

/** A connection to an echo server, which gives back all that it is sent. */
export async function talk(host: LabHost, address: string, server: LabServer): Promise<Ends> {
  const { outcome, received, end, local } = await attempt(host, address, server.port);
  assertEquals([outcome, received, end], ["connected", SENT, "fin"], endpoint(address, server.port));
  return { own: local!, peer: (await server.nextOpened()).peer };
}

/** The same, whatever becomes of it. */
export function attempt(host: LabHost, address: string, port: number): Promise<ClientResult> {
  const steps = [{ do: "send", bytes: SENT }, { do: "half-close" }, { do: "await-end" }] as const;
  return host.connect({ address, port, steps, timeoutMs: 8_000 });
}
