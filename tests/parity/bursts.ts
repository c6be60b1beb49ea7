/**
 * Rows as packets on the wire, in the batches in which they are sent.
 *
 * @module
 */
import { encodeEthernet } from "../../scratch/ip_packet.ts";
import { encodePacket, type FrameFields } from "./frame.ts";
import { UNWATCHED_TTL, WATCHED_TTL } from "./observer.ts";
import { farEnd, isOwn, macOf, outgoingInterface } from "./places.ts";
import { FOREIGN_MARKS, type Row, type Segment } from "./row.ts";
import type { Outgoing } from "./sender_main.ts";

/** A packet, and which host sends it. */
export interface Shot {
  readonly from: "wire" | "gateway";
  readonly packet: Outgoing;
}

/** A row with its number. */
export interface NumberedRow {
  readonly row: Row;
  readonly id: number;
}

/** The packets that are watched. */
export function watchedShots({ row, id }: NumberedRow): Shot[] {
  return [row.destination, ...row.alsoTo ?? []].map((destination) =>
    shot(row, { ...fieldsOf(row, id), destination, ttl: WATCHED_TTL })
  );
}

/** What opens the flow of a `seen` or `answer` row before there are rules. */
export function openingShots({ row, id }: NumberedRow): Shot[] {
  const segment = openingSegment(row);
  if (row.history === "seen") return [shot(row, { ...fieldsOf(row, id), segment })];
  return row.history === "answer" ? [returned(row, id, segment)] : [];
}

/** What answers that. */
export function answeringShots({ row, id }: NumberedRow): Shot[] {
  if (row.history !== "seen") return [];
  return [returned(row, id, row.segment === "udp" ? "udp" : "syn+ack")];
}

/** The flow's first packet, for the rules with the proxy up; an established connection at once where it is `taken`. */
export function takingShots({ row, id }: NumberedRow): Shot[] {
  const withData = row.history === "taken" && row.segment !== "udp";
  return [shot(row, { ...fieldsOf(row, id), segment: openingSegment(row), withData })];
}

/** The answer to a connection that was not taken, by its destination. */
export function destinationShots({ row, id }: NumberedRow): Shot[] {
  return row.segment === "udp" ? [] : [returned(row, id, "syn+ack")];
}

function openingSegment(row: Row): Segment {
  return row.segment === "udp" ? "udp" : "syn";
}

function fieldsOf(row: Row, id: number): FrameFields {
  const dscp = row.way.kind === "arriving" ? FOREIGN_MARKS.indexOf(row.way.mark) : 0;
  if (dscp < 0) throw new RangeError(`row: no rule gives the mark 0x${row.way.mark.toString(16)}`);
  return {
    family: row.family,
    segment: row.segment,
    source: row.source,
    destination: row.destination,
    sourcePort: id,
    destinationPort: row.port,
    ttl: UNWATCHED_TTL,
    dscp,
    dontFragment: row.dontFragment === true,
    withData: false,
  };
}

function shot({ way }: Row, fields: FrameFields): Shot {
  const bytes = encodePacket(fields);
  if (way.kind === "sent") {
    return { from: "gateway", packet: { bytes: bytes.toBase64(), via: { mark: way.mark } } };
  }
  const frame = encodeEthernet(bytes, way.mac, macOf(way.interface));
  return { from: "wire", packet: { bytes: frame.toBase64(), via: { interface: farEnd(way.interface) } } };
}

/** The other way round: from where the row's packet goes to where it comes from. */
function returned(row: Row, id: number, segment: Segment): Shot {
  const name = isOwn(row.destination) ? undefined : outgoingInterface(row.destination);
  const fields: FrameFields = {
    ...fieldsOf({ ...row, way: { kind: "sent", mark: 0 } }, id),
    segment,
    source: row.destination,
    destination: row.source,
    sourcePort: row.port,
    destinationPort: id,
  };
  const way: Row["way"] = name === undefined
    ? { kind: "sent", mark: 0 }
    : { kind: "arriving", interface: name, mac: RETURN_MAC, mark: 0 };
  return shot({ ...row, way }, fields);
}

const RETURN_MAC = "02:00:5e:10:00:77";
