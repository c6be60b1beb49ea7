/**
 * Configurations of the relays that others wrote, as their documentation recommends for this job: one thread, in
 * transparent mode, to the destination that the client dialled.
 *
 * @module
 */

/** What a configuration depends on. */
export interface PeerLimits {
  readonly port: number;
  /** Connections it must be able to carry at once. */
  readonly connections: number;
  /** Descriptors it may have. */
  readonly descriptors: number;
}

/**
 * `server … *` dials the address that the connection was made to. The usual `splice-auto` was seen not to splice here,
 * at half the speed.
 */
export function renderHaproxyConfig({ port, connections }: PeerLimits): string {
  return `global
  nbthread 1
  maxconn ${connections}
  maxpipes 200
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen transparent
  bind :::${port} v4v6 transparent backlog 4096
  server original *
`;
}

/** Where Debian's libnginx-mod-stream puts it. */
export const NGINX_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";

/**
 * The listener is inherited (native/listen_transparent.c), because nginx cannot make a transparent one. Its
 * `listen` line names the same address, so that nginx recognises it.
 *
 * @param directory where the pid file goes
 */
export function renderNginxConfig({ port, descriptors }: PeerLimits, directory: string): string {
  return `load_module ${NGINX_STREAM_MODULE};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile ${descriptors};
pid ${directory}/nginx.pid;
error_log stderr error;
events {
  multi_accept on;
  worker_connections ${descriptors - 100};
}
stream {
  access_log off;
  server {
    listen ${port} backlog=4096;
    proxy_pass $server_addr:$server_port;
    proxy_buffer_size 64k;
    proxy_half_close on;
    proxy_connect_timeout 10s;
    proxy_timeout 1h;
  }
}
`;
}

/**
 * Its bytes are spliced, which they are not by default, and it writes no line for a connection.
 *
 * @param server IPv4 address of the SOCKS5 server
 */
export function renderRedsocksConfig(
  { port, connections }: Omit<PeerLimits, "descriptors">,
  server: string,
): string {
  return `base {
  log_debug = off;
  log_info = off;
  log = "stderr";
  daemon = off;
  redirector = iptables;
  redsocks_conn_max = ${connections};
}
redsocks {
  local_ip = 0.0.0.0;
  local_port = ${port};
  listenq = 4096;
  splice = true;
  ip = ${server};
  port = 1080;
  type = socks5;
}
`;
}
