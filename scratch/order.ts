/**
 * What the program in a scratch namespace is told to do.
 *
 * @module
 */

/** One line of its input. */
export type Order =
  /** Transparent listeners on these ports: TCP and UDP, both families. */
  | { readonly do: "listen"; readonly ports: readonly number[] }
  /** An Ethernet frame, as hex digits, out by the interface of that index. */
  | { readonly do: "frame"; readonly interfaceIndex: number; readonly bytes: string }
  /** An IP packet, as hex digits, by a socket with that mark which belongs to that user and group. */
  | {
    readonly do: "send";
    readonly bytes: string;
    readonly destination: string;
    readonly mark: number;
    readonly uid: number;
    readonly gid: number;
  };
