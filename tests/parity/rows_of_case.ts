/**
 * Rows that a case's own selectors and policy ask for: the first and last address and port of what they name, and the next ones
 * outside.
 *
 * @module
 */
import type { InterceptIntent, PolicyVerdict } from "../../nft/intent.ts";
import {
  addressBytes,
  addressFromBytes,
  type IpFamily,
  parseAddress,
  parsePrefix,
  type PortRange,
} from "../../net/mod.ts";
import { isOwn } from "./places.ts";
import { arriving, firstOf, isMany, PLACES, sent } from "./rows.ts";
import type { Row, Segment } from "./row.ts";

/** Long lists are tried at their beginning and end. */
const TRIED = 4;

/** The rows for what `intent` includes and excludes. */
export function rowsOfCase({ select, policy, sidecar }: InterceptIntent): Row[] {
  const ports = (segment: "syn" | "udp", ranges: readonly PortRange[]) =>
    ends(ranges).flatMap(edgesOfRange).flatMap((port) =>
      towardsServer(segment).map((row) => ({ ...row, port }))
    );
  const { tcpPorts, udpPorts } = select;
  return [
    ...prefixes(select.destinations).flatMap(edgesOfPrefix).flatMap(towards),
    ...prefixes(select.sources).flatMap(edgesOfPrefix).flatMap(fromSource),
    ...ports("syn", [...tcpPorts.include, ...tcpPorts.exclude]),
    ...ports("udp", [...udpPorts.include, ...udpPorts.exclude]),
    ...policy.flatMap(rowsOfVerdict),
    ...ports("syn", sidecar?.outboundPorts ?? []),
    ...ends([...sidecar?.inboundPorts.include ?? [], ...sidecar?.inboundPorts.exclude ?? []])
      .flatMap(edgesOfRange).flatMap(inbound),
    ...(sidecar?.dns?.servers ?? []).flatMap(edgesOfAddress).flatMap(towardsDns),
  ];
}

/**
 * The edges of what it names, in packets that its other filters name as well. Source ports are not to be had: they are
 * the numbers of the rows.
 */
function rowsOfVerdict({ destinations, sources, destinationPorts }: PolicyVerdict): Row[] {
  const fitting = (row: Row): Row => ({
    ...row,
    destination: firstIn(destinations, row.family) ?? row.destination,
    source: (row.way.kind === "arriving" ? firstIn(sources, row.family) : undefined) ?? row.source,
    port: destinationPorts?.[0]?.first ?? row.port,
  });
  const edges = (list: readonly string[] | null) => ends(list ?? []).flatMap(edgesOfPrefix);
  const some = (["syn", "udp"] as const).flatMap(towardsServer).map(fitting);
  return [
    ...some,
    ...edges(destinations).flatMap(towards).map((row) => ({ ...fitting(row), destination: row.destination })),
    ...edges(sources).flatMap(fromSource).map((row) => ({ ...fitting(row), source: row.source })),
    ...ends(destinationPorts ?? []).flatMap(edgesOfRange).flatMap((port) =>
      some.map((row) => ({ ...row, port }))
    ),
  ];
}

/** The first address of that family in a list. */
function firstIn(list: readonly string[] | null, family: IpFamily): string | undefined {
  const text = list?.find((one) => parsePrefix(one)!.family === family);
  return text && textOf(valueOf(text.slice(0, text.indexOf("/"))), family);
}

function prefixes({ include, exclude }: InterceptIntent["select"]["destinations"]): string[] {
  return [...ends(include), ...ends(exclude)];
}

function ends<T>(all: readonly T[]): T[] {
  return all.length <= 2 * TRIED ? [...all] : [...all.slice(0, TRIED), ...all.slice(-TRIED)];
}

function edgesOfRange({ first, last }: PortRange): number[] {
  return [first - 1, first, last, last + 1].filter((port) => port > 0 && port < 0x10000);
}

/** The address before the prefix, its first, its last and the one after. */
function edgesOfPrefix(text: string): string[] {
  const prefix = parsePrefix(text)!;
  const network = text.slice(0, text.indexOf("/"));
  const bits = prefix.family === 4 ? 32 : 128;
  const first = valueOf(network);
  const size = 1n << BigInt(bits - prefix.length);
  return [first - 1n, first, first + size - 1n, first + size]
    .filter((value) => value >= 0n && value < 1n << BigInt(bits))
    .map((value) => textOf(value, prefix.family));
}

function edgesOfAddress(address: string): string[] {
  return edgesOfPrefix(`${address}/${address.includes(":") ? 128 : 32}`);
}

function towardsServer(segment: Segment): Row[] {
  return ([4, 6] as const).flatMap((family) => [
    firstOf(family, segment),
    { ...firstOf(family, segment), way: sent(0), source: PLACES.gatewayWan[family] },
  ]);
}

function towards(destination: string): Row[] {
  const { family } = parseAddress(destination)!;
  return (["syn", "udp"] as const).flatMap((segment): Row[] => [
    { ...firstOf(family, segment), destination },
    { ...firstOf(family, segment), destination, way: sent(0), source: PLACES.gatewayWan[family] },
  ]);
}

function towardsDns(destination: string): Row[] {
  return towards(destination).map((row) => ({ ...row, port: 53 }));
}

function fromSource(source: string): Row[] {
  if (isOwn(source) || isMany(source)) return [];
  const { family } = parseAddress(source)!;
  return (["syn", "udp"] as const).flatMap((segment) =>
    (["lan0", "lan1"] as const).map((name): Row => ({
      ...firstOf(family, segment),
      ...{ source, way: arriving(name) },
    }))
  );
}

function inbound(port: number): Row[] {
  return ([4, 6] as const).map((family): Row => ({
    ...firstOf(family, "syn"),
    ...{ port, way: arriving("wan0"), source: PLACES.server[family] },
    destination: PLACES.gatewayWan[family],
  }));
}

function valueOf(address: string): bigint {
  return addressBytes(parseAddress(address)!).reduce((value, byte) => value << 8n | BigInt(byte), 0n);
}

function textOf(value: bigint, family: IpFamily): string {
  const length = family === 4 ? 4 : 16;
  const bytes = Uint8Array.from({ length }, (_, i) => Number(value >> BigInt(8 * (length - 1 - i)) & 0xffn));
  return addressFromBytes(bytes).text;
}
