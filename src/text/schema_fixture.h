// A JSON Schema validator for tests: straight from the specification, and nothing in common with
// the compiler that it checks.
#pragma once

#include <cmath>
#include <regex>
#include <string>

#include "base/json.h"

namespace baleen {

class SchemaValidator {
  public:
    explicit SchemaValidator(const Json& root) : root_(root) {}
    bool valid(const Json& value) const { return valid(root_, value); }

  private:
    static bool has_type(const std::string& type, const Json& value) {
        if (type == "null") return value.is_null();
        if (type == "boolean") return value.is_boolean();
        if (type == "string") return value.is_string();
        if (type == "array") return value.is_array();
        if (type == "object") return value.is_object();
        if (type == "number") return value.is_number();
        if (type == "integer")
            return value.is_number() && value.get<double>() == std::floor(value.get<double>());
        return true;
    }
    static size_t num_characters(const std::string& text) {
        size_t count = 0;
        for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
        return count;
    }
    const Json& target(std::string ref) const {
        if (const size_t at = ref.find("%20"); at != ref.npos) ref.replace(at, 3, 1, ' ');
        return root_.at(nlohmann::ordered_json::json_pointer(ref.substr(1)));
    }

    bool valid(const Json& schema, const Json& value) const {
        if (schema.is_boolean()) return schema.get<bool>();
        const bool is_null = value.is_null() && schema.value("nullable", false);
        return (is_null || valid_type(schema, value)) && valid_parts(schema, value) &&
               valid_number(schema, value) && valid_string(schema, value) &&
               valid_array(schema, value) && valid_object(schema, value);
    }
    bool valid_type(const Json& schema, const Json& value) const {
        if (!schema.contains("type")) return true;
        const Json& type = schema["type"];
        if (type.is_string()) return has_type(type.get<std::string>(), value);
        for (const Json& name : type)
            if (has_type(name.get<std::string>(), value)) return true;
        return false;
    }
    bool valid_parts(const Json& schema, const Json& value) const {
        if (schema.contains("const") && schema["const"] != value) return false;
        if (schema.contains("enum")) {
            bool found = false;
            for (const Json& one : schema["enum"]) found = found || one == value;
            if (!found) return false;
        }
        if (schema.contains("$ref") && !valid(target(schema["$ref"].get<std::string>()), value))
            return false;
        if (schema.contains("allOf"))
            for (const Json& part : schema["allOf"])
                if (!valid(part, value)) return false;
        for (const char* keyword : {"anyOf", "oneOf"}) {
            if (!schema.contains(keyword)) continue;
            bool found = false;
            for (const Json& part : schema[keyword]) found = found || valid(part, value);
            if (!found) return false;
        }
        return true;
    }
    bool valid_number(const Json& schema, const Json& value) const {
        if (!value.is_number()) return true;
        const double number = value.get<double>();
        const auto bound = [&](const char* keyword) { return schema[keyword].get<double>(); };
        if (schema.contains("minimum") && number < bound("minimum")) return false;
        if (schema.contains("maximum") && number > bound("maximum")) return false;
        if (schema.contains("exclusiveMinimum") && number <= bound("exclusiveMinimum"))
            return false;
        return !schema.contains("exclusiveMaximum") || number < bound("exclusiveMaximum");
    }
    bool valid_string(const Json& schema, const Json& value) const {
        if (!value.is_string()) return true;
        const auto& text = value.get_ref<const std::string&>();
        const size_t length = num_characters(text);
        if (schema.contains("minLength") && length < schema["minLength"].get<size_t>())
            return false;
        if (schema.contains("maxLength") && length > schema["maxLength"].get<size_t>())
            return false;
        return !schema.contains("pattern") ||
               std::regex_search(text, std::regex(schema["pattern"].get<std::string>()));
    }
    bool valid_array(const Json& schema, const Json& value) const {
        if (!value.is_array()) return true;
        if (schema.contains("minItems") && value.size() < schema["minItems"].get<size_t>())
            return false;
        if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<size_t>())
            return false;
        const size_t num_prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
        for (size_t i = 0; i < value.size(); ++i) {
            if (i < num_prefix) {
                if (!valid(schema["prefixItems"][i], value[i])) return false;
            } else if (schema.contains("items") && !valid(schema["items"], value[i])) {
                return false;
            }
        }
        return true;
    }
    bool valid_object(const Json& schema, const Json& value) const {
        if (!value.is_object()) return true;
        if (schema.contains("required"))
            for (const Json& name : schema["required"])
                if (!value.contains(name.get<std::string>())) return false;
        for (const auto& [name, member] : value.items()) {
            if (schema.contains("properties") && schema["properties"].contains(name)) {
                if (!valid(schema["properties"][name], member)) return false;
            } else if (schema.contains("additionalProperties")) {
                if (!valid(schema["additionalProperties"], member)) return false;
            }
        }
        return true;
    }

    const Json& root_;
};

}  // namespace baleen
