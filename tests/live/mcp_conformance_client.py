"""The client that the conformance suite of MCP tests: a Neuron of the MCP source, called over a bus.

The suite runs this program with the URL of its server as the argument, and names the scenario in the
environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from cosmo_core import Axon, Dendrite, Neuron, Signal, SignalType
from cosmo_synapse_memory import MemorySynapse

CALLBACK = "http://localhost:3000/callback"
METADATA_URL = "https://conformance-test.local/client-metadata.json"
ARGUMENTS = {"a": 19, "b": 23}


class Storage:
    """The SDK's storage of tokens, in memory."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self._client = client
        self._tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


class Browser:
    """A person who agrees: the page of the authorization server redirects at once."""

    def __init__(self) -> None:
        self._answer: dict[str, list[str]] = {}

    async def open(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(url)
        self._answer = parse_qs(urlsplit(response.headers["location"]).query)

    async def answer(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**{name: values[0] for name, values in self._answer.items()})


def auth_for(scenario: str, url: str, context: dict[str, Any]) -> httpx2.Auth:
    """The provider of the SDK for a scenario."""
    if scenario == "auth/client-credentials-basic":
        return ClientCredentialsOAuthProvider(
            url, Storage(), context["client_id"], context["client_secret"], issuer=issuer_of(url)
        )
    if scenario == "auth/client-credentials-jwt":
        signing = SignedJWTParameters(
            issuer=context["client_id"],
            subject=context["client_id"],
            signing_key=context["private_key_pem"],
            signing_algorithm=context["signing_algorithm"],
        )
        return PrivateKeyJWTOAuthProvider(
            url, Storage(), context["client_id"], signing.create_assertion_provider(), issuer=issuer_of(url)
        )
    if scenario == "auth/cross-app-access-complete-flow":
        return IdentityAssertionOAuthProvider(
            url,
            Storage(),
            context["client_id"],
            context["client_secret"],
            issuer_of(url),
            lambda audience, resource: exchanged(context, audience, resource),
            token_endpoint_auth_method="client_secret_basic",
        )
    known = None
    if "client_secret" in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context["client_secret"],
            redirect_uris=[AnyUrl(CALLBACK)],
            token_endpoint_auth_method="client_secret_basic",
        )
    browser = Browser()
    return OAuthClientProvider(
        url,
        OAuthClientMetadata(client_name="cosmo", redirect_uris=[AnyUrl(CALLBACK)]),
        Storage(known),
        browser.open,
        browser.answer,
        client_metadata_url=METADATA_URL,
    )


def issuer_of(url: str) -> str:
    """The issuer that the server names; a deployment would be configured with it."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
    issuer: str = httpx.get(place, trust_env=False).raise_for_status().json()["authorization_servers"][0]
    return issuer


async def exchanged(context: dict[str, Any], audience: str, resource: str) -> str:
    """The assertion that the identity provider gives for an id token."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": context["idp_id_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
        "audience": audience,
        "resource": resource,
        "client_id": context["idp_client_id"],
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(context["idp_token_endpoint"], data=form)
    assertion: str = response.raise_for_status().json()["access_token"]
    return assertion


async def main(url: str, scenario: str, context: dict[str, Any]) -> None:
    """List the tools, and call each; agree to every question with its defaults."""
    options = {"auth": auth_for(scenario, url, context)} if scenario.startswith("auth/") else {}
    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, role="worker")
    worker.attach_axon(Axon(neuron_id="tools", neuron_fn=Neuron(source="mcp", url=url, **options)))
    orchestrator = Dendrite(synapse=synapse)

    async def ask(input: dict[str, Any]) -> Signal:
        reply = await orchestrator.dispatch_and_wait(neuron="tools", input=input, timeout_s=25)
        while reply.type is SignalType.CLARIFICATION:
            pathway = await orchestrator.respond_to_clarification(reply, True)
            reply = await pathway.wait(timeout_s=25)
        return reply.raise_for_error()

    async with worker, orchestrator:
        listed = await ask({"list_tools": True})
        for tool in listed.payload["output"]["result"]:
            wanted = tool["inputSchema"].get("properties", {})
            arguments = {name: value for name, value in ARGUMENTS.items() if name in wanted}
            await ask({"tool": tool["name"], "arguments": arguments})
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(
        main(
            sys.argv[1],
            os.environ["MCP_CONFORMANCE_SCENARIO"],
            json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")),
        )
    )
