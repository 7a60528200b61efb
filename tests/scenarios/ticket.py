"""The client's side of SASL's GSSAPI, RFC 4752, by MIT's library."""

import gssapi


class Ticket:
    """A login with what is in the cache; `forward` gives the server a TGT."""

    def __init__(self, cache, service, forward=False, authorise="", layer=1):
        flags = (gssapi.RequirementFlag.mutual_authentication
                 | gssapi.RequirementFlag.integrity)
        if forward:
            flags |= gssapi.RequirementFlag.delegate_to_peer
        self.context = gssapi.SecurityContext(
            name=gssapi.Name(service, gssapi.NameType.kerberos_principal),
            creds=gssapi.Credentials(usage="initiate",
                                     store={"ccache": cache}),
            usage="initiate", mech=gssapi.MechType.kerberos, flags=flags)
        self.authorise, self.layer = authorise, layer
        self.first = self.context.step()

    def answer(self, challenge):
        if not self.context.complete:
            return self.context.step(challenge) or b""
        offered = self.context.unwrap(challenge).message
        assert offered[0] == 1  # no layer but none
        return self.context.wrap(bytes([self.layer, 0, 0, 0])
                                 + self.authorise.encode(), False).message
