/**
 * Addresses that no packet is ever sent to. A socket that only sends is bound to one, so that the kernel, which looks
 * for the socket of an arriving packet by its destination, never finds it.
 *
 * @module
 */
import { type IpAddress, parseAddress } from "../net/mod.ts";

/** The IPv4 dummy address (RFC 7600). */
export const NOBODY_V4: IpAddress = parseAddress("192.0.0.8")!;
/** Of the prefix whose packets are discarded (RFC 6666). */
export const NOBODY_V6: IpAddress = parseAddress("100::1")!;
