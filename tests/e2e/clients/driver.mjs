// openid-client for the tests: one JSON request per line in, one JSON reply per line out.
import { createInterface } from 'node:readline';
import * as oidc from 'openid-client';

const methods = {
  client_secret_basic: oidc.ClientSecretBasic,
  client_secret_post: oidc.ClientSecretPost,
  none: () => oidc.None(),
};
const configurations = [];
const pending = new Map(); // state → what the callback has to fit

const actions = {
  async discover({ issuer, client_id, client_secret, method, algorithm }) {
    const configuration = await oidc.discovery(
      new URL(issuer),
      client_id,
      { id_token_signed_response_alg: algorithm },
      methods[method](client_secret),
      // Loopback has no TLS; so the ID token's signature has to be checked (OIDC Core §3.1.3.7 item 6).
      { execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks] },
    );
    if (!configuration.serverMetadata().supportsPKCE()) throw new Error('no PKCE in the metadata');
    return configurations.push(configuration) - 1;
  },

  async authorization_url({ of, redirect_uri, scope, max_age, extra }) {
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const expectedState = oidc.randomState();
    const expectedNonce = oidc.randomNonce();
    pending.set(expectedState, { pkceCodeVerifier, expectedState, expectedNonce, maxAge: max_age, idTokenExpected: true });
    return oidc.buildAuthorizationUrl(configurations[of], {
      redirect_uri,
      scope,
      state: expectedState,
      nonce: expectedNonce,
      max_age: String(max_age),
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      ...extra,
    }).href;
  },

  // The client compares state and iss, redeems the code, and verifies the ID token: signature, iss, aud, azp, nonce,
  // exp, iat, auth_time against max_age, at_hash.
  async redeem({ of, url, form, state }) {
    const checks = pending.get(state);
    pending.delete(state);
    const at = form === null ? new URL(url) : formPost(url, form);
    const tokens = await oidc.authorizationCodeGrant(configurations[of], at, checks);
    return { ...tokens, claims: tokens.claims() };
  },

  async userinfo({ of, access_token, subject }) {
    return oidc.fetchUserInfo(configurations[of], access_token, subject);
  },

  async refresh({ of, refresh_token }) {
    const tokens = await oidc.refreshTokenGrant(configurations[of], refresh_token);
    return { ...tokens, claims: tokens.claims() };
  },

  async introspect({ of, token }) {
    return oidc.tokenIntrospection(configurations[of], token);
  },

  async revoke({ of, token }) {
    await oidc.tokenRevocation(configurations[of], token);
    return null;
  },

  async logout_url({ of, ...parameters }) {
    return oidc.buildEndSessionUrl(configurations[of], parameters).href;
  },

  async client_credentials({ of, scope }) {
    return oidc.clientCredentialsGrant(configurations[of], { scope });
  },
};

function formPost(url, form) {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return new Request(url, { method: 'POST', headers, body: form });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...parameters } = JSON.parse(line);
  let reply;
  try {
    reply = { result: await actions[action](parameters) };
  } catch (problem) {
    reply = { error: problem.error ?? problem.code ?? problem.name, text: `${problem.message} ${problem.cause ?? ''}` };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
