/**
 * How flows leave other than straight from here: the one contract that every kind of upstream keeps.
 *
 * tcp/ and udp/ know these types, upstream/ has the kinds, dataplane/ brings them together.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type { ConnectionEnd } from "./connection_end.ts";

/** A host by the name that the upstream is to resolve, for destinations that have no address here. */
export interface NamedHost {
  /** As DNS has it, at most 255 bytes. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** Where a stream is to lead: `sockaddr_in` or `sockaddr_in6` bytes, or a name. */
export type StreamTarget = Uint8Array | NamedHost;

/** A stream that is wanted. */
export interface StreamRequest {
  /** sockaddr bytes of whom it is for. */
  readonly client: Uint8Array;
  /** Where the client wanted to go; what PROXY protocol headers and kept sources are made from. */
  readonly destination: Uint8Array;
  /** Where this hop is to lead; the destination, or the server of the next hop. */
  readonly target: StreamTarget;
  /** On the reactor's clock (`reactor.now`): what has not come about by then is given up. */
  readonly deadlineMs: number;
}

/** A flow that can be ended from outside. */
export interface LiveFlow {
  /** Ends it at once, with `upstream-failed` as the reason. Not called in the middle of an event. */
  endByUpstream(): void;
}

/** Flows that last no longer than the upstream that they leave by works. */
export interface LiveFlows {
  /** To be ended with the others from now on. */
  add(flow: LiveFlow): void;
  /** It has ended. */
  delete(flow: LiveFlow): void;
}

/**
 * How opening went. A descriptor is connected, non-blocking, not watched by the reactor, and the caller's: everything
 * that belongs to the handshake has been read from it, and nothing more.
 */
export type StreamOpened = StreamOpen | StreamFailure;

/** There is a stream. */
export interface StreamOpen {
  readonly fd: number;
  /** Where the flow is to be entered as long as it lasts; absent: nowhere. */
  readonly liveFlows?: LiveFlows;
}

/** Why there is no stream. Nothing has been left open. */
export interface StreamFailure {
  readonly fd: -1;
  /** What the flow's record says. */
  readonly end: ConnectionEnd;
  /**
   * Whether it was the upstream's doing (its server cannot be reached, does not speak the protocol, refuses our
   * password), so that another upstream may do better; otherwise the destination's.
   */
  readonly atUpstream: boolean;
  /** For the log, `socks5 192.0.2.1:1080: username or password refused`; never a secret. */
  readonly detail: string;
}

/** One way for streams to leave. It may be asked for many at once. */
export interface StreamUpstream {
  /** As the configuration names it. */
  readonly name: string;
  /**
   * Opens a stream. The dialogue may be aborted at each of its waits (`return()`), and then closes what it has opened.
   */
  open(request: StreamRequest): Dialogue<StreamOpened>;
}

/** What stands in front of each datagram on a path. Offsets are the arena's. */
export interface DatagramFraming {
  /** The most bytes that a header takes, 64 or fewer. */
  readonly maxHeaderBytes: number;
  /** Whether what comes back has headers too. */
  readonly framesAnswers: boolean;
  /**
   * Writes the header for a datagram.
   *
   * @param clientAt where the sockaddr of the client lies.
   * @param destinationAt where the sockaddr of its destination lies.
   * @returns how long the header is.
   */
  writeHeader(clientAt: number, destinationAt: number, headerAt: number): number;
  /**
   * Reads the header of an answer, and writes the sockaddr of who has sent it (v4 not mapped).
   *
   * @returns how long the header is, or -1 for what is none, or is a fragment.
   */
  readHeader(at: number, length: number, sourceAt: number): number;
}

/** A path that is wanted for the datagrams of one client endpoint, to every destination. */
export interface DatagramRequest {
  /** sockaddr bytes of whom it is for. */
  readonly client: Uint8Array;
  /** As for streams. */
  readonly deadlineMs: number;
}

/** How a socket that leads to destinations from here differs from others. */
export interface DirectOptions {
  /** Whose source address; undefined: as the listener's settings have it. */
  readonly source: "own" | "keep" | undefined;
  /** Bound to it (SO_BINDTODEVICE); undefined: as routing has it. */
  readonly interface: string | undefined;
  /** Bits set beside our own mark; 0: none. */
  readonly mark: number;
  /** Codepoint of what is sent; undefined: the kernel's for TCP, the client's for UDP. */
  readonly dscp: number | undefined;
}

/** A path for datagrams. */
export interface DatagramPath {
  /** sockaddr bytes of where they are sent; undefined: to their destinations. */
  readonly relay: Uint8Array | undefined;
  /** Of the socket, where they are sent to their destinations; absent: as the listener's settings have it. */
  readonly options?: DirectOptions;
  readonly framing: DatagramFraming | undefined;
  /**
   * A connected stream that the path lasts as long as: when it ends or brings anything, the path is over. It is the
   * caller's, not watched. -1: there is none.
   */
  readonly control: number;
  /** As for streams. */
  readonly liveFlows?: LiveFlows;
}

/** One way for datagrams to leave. */
export interface DatagramUpstream {
  readonly name: string;
  /** Opens a path; as {@linkcode StreamUpstream.open}, of which a failure has the shape. */
  openDatagrams(request: DatagramRequest): Dialogue<DatagramPath | StreamFailure>;
}
