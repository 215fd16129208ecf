-- HAProxy asks the guard before it forwards a request (HAProxy 2.6 or later, with Lua, as Debian's is):
--
--   http-request lua.mintmark http://127.0.0.1:4180
--   http-request deny deny_status 503 unless { var(txn.mintmark) -m str pass }
--
-- The second line is not to be left out: should this script fail, HAProxy goes on with the next rule.

local TIMEOUT_MS = 15000

-- Names that a service could take for one of the guard's, in whatever spelling.
local OURS = "^x[^%w]mintmark[^%w]"

-- What of a refusal is for the client; lengths and connections are HAProxy's affair.
local PASSED_ON = { "content-type", "cache-control", "www-authenticate", "retry-after" }

-- HAProxy counts the values of a header from 0.
local function values(headers, name)
    local found, index = {}, 0
    local present = headers[name] or {}
    while present[index] ~= nil do
        found[#found + 1] = present[index]
        index = index + 1
    end
    return found
end

local function refuse(txn, response)
    local reply = txn:reply({ status = response.status })
    for _, name in ipairs(PASSED_ON) do
        for _, value in ipairs(values(response.headers, name)) do
            reply:add_header(name, value)
        end
    end
    reply:set_body(response.body or "")
    txn:done(reply)
end

-- The guard cannot decide, or is away.
local function unavailable(txn)
    local reply = txn:reply({ status = 503 })
    reply:add_header("retry-after", "1")
    txn:done(reply)
end

local function check(txn, guard)
    local sent = txn.http:req_get_headers()
    local question = {
        ["x-original-method"] = { txn.sf:method() },
        ["x-original-uri"] = { txn.sf:pathq() },
        ["authorization"] = values(sent, "authorization"),
    }
    local response = core.httpclient():get({ url = guard .. "/haproxy", headers = question, timeout = TIMEOUT_MS })
    local status = response and response.status or 0
    if status >= 400 and status < 500 then
        refuse(txn, response)
        return
    elseif status ~= 200 then
        unavailable(txn)
        return
    end
    for name in pairs(sent) do
        if name:match(OURS) then
            txn.http:req_del_header(name)
        end
    end
    for name in pairs(response.headers) do
        if name:match(OURS) then
            txn.http:req_set_header(name, values(response.headers, name)[1] or "")
        end
    end
    txn:set_var("txn.mintmark", "pass")
end

core.register_action("mintmark", { "http-req" }, check, 1)
