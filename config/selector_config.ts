/**
 * Which traffic is intercepted, as the user says it: names and patterns are not yet resolved, files not yet read.
 *
 * @module
 */
import { type Filter, type IdRange, type MarkMatch, NO_FILTER, type PortRange } from "../net/mod.ts";

/** A filter by address, part of which may be in files of one prefix or address a line. */
export interface PrefixFilter extends Filter<string> {
  /** Paths; what they list is added to `include`. */
  readonly includeFiles: readonly string[];
  /** Paths; what they list is added to `exclude`. */
  readonly excludeFiles: readonly string[];
}

/** A user or group by the name that /etc/passwd or /etc/group gives it. */
export interface AccountName {
  /** As the file spells it. */
  readonly name: string;
}

/** Users or groups, by number or by name. */
export type Account = IdRange | AccountName;

/**
 * Asked of a flow's first packet only. A flow is taken when no `exclude` names it and every filter that has an
 * `include` names it there.
 */
export interface SelectorConfig {
  /** Destination prefixes or addresses. */
  readonly destinations: PrefixFilter;
  /** Source prefixes or addresses. */
  readonly sources: PrefixFilter;
  /** Destination ports of TCP connections. */
  readonly tcpPorts: Filter<PortRange>;
  /** Destination ports of datagrams. */
  readonly udpPorts: Filter<PortRange>;
  /** Interfaces, by name or pattern, by which own traffic leaves. */
  readonly outgoing: Filter<string>;
  /** Ethernet source addresses of forwarded traffic, in lower case. */
  readonly macs: Filter<string>;
  /** Users that own the sending socket; own traffic only. */
  readonly uids: Filter<Account>;
  /** Groups that own the sending socket; own traffic only. */
  readonly gids: Filter<Account>;
  /** Paths of cgroups (v2) below the mount point, without a leading slash; own traffic only. */
  readonly cgroups: Filter<string>;
  /** Packet marks that other programs have set. */
  readonly marks: Filter<MarkMatch>;
}

const NO_PREFIXES: PrefixFilter = { ...NO_FILTER, includeFiles: [], excludeFiles: [] };

/** Selectors that leave nothing out. */
export const SELECT_ALL: SelectorConfig = {
  destinations: NO_PREFIXES,
  sources: NO_PREFIXES,
  tcpPorts: NO_FILTER,
  udpPorts: NO_FILTER,
  outgoing: NO_FILTER,
  macs: NO_FILTER,
  uids: NO_FILTER,
  gids: NO_FILTER,
  cgroups: NO_FILTER,
  marks: NO_FILTER,
};
